package service

import (
	"errors"
	"net"
	"strings"
	"time"

	sshclient "golang.org/x/crypto/ssh"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// sshUser is in whose name a server is asked how it lets people in; nobody has it.
const sshUser = "riskprofiler"

// errSeen ends a login as soon as it is known that the server would have asked.
var errSeen = errors.New("seen")

// sshAuthentication asks how the server lets people in, with the method "none", which is there for that (RFC 4252 section 5.2). A server
// that offers passwords, or questions that come down to them, is left at that point: nothing is typed. One that lets "none" in needs no
// credentials at all, which is the proof.
func sshAuthentication(t *talk, fact *modelv1.ServiceFact) {
	conn, err := t.prober.dial(t.ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if conn.SetDeadline(time.Now().Add(t.patience.budget/2)) != nil {
		return
	}
	defer newLine(t.ctx, conn, t.patience).stop() // its waits end with the context
	var methods []string
	config := &sshclient.ClientConfig{
		User:            sshUser,
		ClientVersion:   strings.TrimSpace(ownSSH),
		HostKeyCallback: sshclient.InsecureIgnoreHostKey(), //nolint:gosec // G106: nothing is trusted here, and nothing secret is sent
		Auth: []sshclient.AuthMethod{
			sshclient.PasswordCallback(func() (string, error) {
				methods = append(methods, "password")
				return "", errSeen
			}),
			sshclient.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				if len(questions) == 0 {
					return nil, nil
				}
				methods = append(methods, "keyboard-interactive")
				return nil, errSeen
			}),
		},
	}
	client, channels, requests, err := sshclient.NewClientConn(conn, net.JoinHostPort(t.prober.reach, "0"), config)
	switch {
	case err == nil:
		go sshclient.DiscardRequests(requests)
		go func() {
			for channel := range channels {
				_ = channel.Reject(sshclient.Prohibited, "")
			}
		}()
		_ = client.Close()
		detail(fact, "ssh.authentication", "none")
		proven(fact, "login as "+sshUser+" by the method none: accepted")
	case len(methods) > 0:
		detail(fact, "ssh.authentication", strings.Join(methods, ","))
	case strings.Contains(err.Error(), "no supported methods remain"):
		detail(fact, "ssh.authentication", "other") // keys, most often
	}
}
