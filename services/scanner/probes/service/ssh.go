package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ownSSH is how we name ourselves to an SSH server (RFC 4253 section 4.2).
const ownSSH = "SSH-2.0-RiskProfiler\r\n"

// ssh reads the version exchange and the server's algorithms, which it sends unasked (RFC 4253 sections 4.2 and 7.1). No key
// is exchanged on this connection.
func ssh(t *talk) *modelv1.ServiceFact {
	banner, err := t.text()
	if err != nil || !strings.HasPrefix(banner, "SSH-") {
		return nil
	}
	fact := named("ssh")
	fact.Banner = safe(banner, 255) // RFC 4253 section 4.2
	version, software, found := strings.Cut(strings.TrimPrefix(banner, "SSH-"), "-")
	if !found {
		return fact
	}
	detail(fact, "ssh.protocol", version)
	nameProduct(fact, software, sshProducts)
	// Behind a space Debian and Ubuntu tell the revision of their package: "Debian-2+deb12u3" (RFC 4253 section 4.2: comments).
	if _, comment, found := strings.Cut(software, " "); found && fact.GetVersion() != "" {
		family, revision, _ := strings.Cut(comment, "-")
		if familyOf(family) != "" {
			setPackage(fact, "openssh", family, revision)
		}
		setSystem(fact, systemOf(family))
	}
	if version != "2.0" && version != "1.99" {
		return fact // SSH 1 has no such exchange
	}
	if err := t.send([]byte(ownSSH)); err != nil {
		return fact
	}
	packet, err := t.sshPacket()
	if err != nil {
		return fact
	}
	offer, err := parseKexInit(packet)
	if err != nil {
		return fact
	}
	detail(fact, "ssh.kex", strings.Join(offer.kex, ","))
	detail(fact, "ssh.host_key", strings.Join(offer.hostKey, ","))
	detail(fact, "ssh.ciphers", strings.Join(offer.ciphers, ","))
	detail(fact, "ssh.macs", strings.Join(offer.macs, ","))
	fact.WeakAlgorithms = offer.weak()
	if t.prober.thorough {
		sshAuthentication(t, fact)
	}
	return fact
}

// maxSSHPacket is the largest packet that must be accepted (RFC 4253 section 6.1).
const maxSSHPacket = 35000

// sshPacket reads one packet before keys are in use: length, padding length, payload, padding (RFC 4253 section 6).
func (t *talk) sshPacket() ([]byte, error) {
	head, err := t.take(5)
	if err != nil {
		return nil, err
	}
	size, padding := binary.BigEndian.Uint32(head), uint32(head[4])
	if size < 2 || size > maxSSHPacket || padding >= size-1 {
		return nil, errNotIt
	}
	body, err := t.take(int(size) - 1)
	if err != nil {
		return nil, err
	}
	return body[:size-1-padding], nil
}

// errNotIt says that an answer is not of the protocol.
var errNotIt = errors.New("not of this protocol")

// kexInit is what an SSH server offers.
type kexInit struct{ kex, hostKey, ciphers, macs []string }

// msgKexInit is SSH_MSG_KEXINIT (RFC 4250 section 4.1.2).
const msgKexInit = 20

// maxAlgorithms bounds one list.
const maxAlgorithms = 128

// parseKexInit reads the payload of a KEXINIT: a cookie of 16 bytes and ten name-lists (RFC 4253 section 7.1).
func parseKexInit(payload []byte) (kexInit, error) {
	if len(payload) < 17 || payload[0] != msgKexInit {
		return kexInit{}, errNotIt
	}
	payload = payload[17:]
	var lists [8][]string
	for i := range lists {
		if len(payload) < 4 {
			return kexInit{}, errNotIt
		}
		size := binary.BigEndian.Uint32(payload)
		if uint64(size) > uint64(len(payload)-4) {
			return kexInit{}, errNotIt
		}
		lists[i] = splitNames(payload[4 : 4+size])
		payload = payload[4+size:]
	}
	return kexInit{
		kex: lists[0], hostKey: lists[1],
		ciphers: union(lists[2], lists[3]), macs: union(lists[4], lists[5]),
	}, nil
}

func splitNames(list []byte) []string {
	var names []string
	for name := range bytes.SplitSeq(list, []byte(",")) {
		if len(name) == 0 || len(names) == maxAlgorithms {
			continue
		}
		names = append(names, safe(string(name), maxName)) // RFC 4251 section 6: at most 64 characters
	}
	return names
}

func union(a, b []string) []string {
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(a, name)
		}
	}
	return a
}

// weakSSH are algorithms that should no longer be offered: key exchanges by RFC 9142 section 4 (SHA-1, group 1, RSA 1024),
// SHA-1 and DSA signatures (RFC 8332, RFC 9142 section 1), RC4 (RFC 8758), ciphers with blocks of 64 bits (CVE-2016-2183), CBC (CVE-2008-5161),
// MACs on MD5 or cut to 96 bits, and none at all.
var weakSSH = map[string]bool{
	"diffie-hellman-group1-sha1": true, "diffie-hellman-group-exchange-sha1": true, "rsa1024-sha1": true,
	"gss-group1-sha1-toWM5Slw5Ew8Mqkay+al2g==": true,
	"ssh-dss": true, "ssh-rsa": true, "ssh-dss-cert-v01@openssh.com": true, "ssh-rsa-cert-v01@openssh.com": true,
	"arcfour": true, "arcfour128": true, "arcfour256": true, "none": true,
	"3des-cbc": true, "des-cbc": true, "blowfish-cbc": true, "cast128-cbc": true, "idea-cbc": true,
	"aes128-cbc": true, "aes192-cbc": true, "aes256-cbc": true, "rijndael-cbc@lysator.liu.se": true,
	"hmac-md5": true, "hmac-md5-96": true, "hmac-sha1-96": true,
	"hmac-md5-etm@openssh.com": true, "hmac-md5-96-etm@openssh.com": true, "hmac-sha1-96-etm@openssh.com": true,
}

// weak lists the weak algorithms that are offered.
func (k kexInit) weak() []string {
	var weak []string
	for _, name := range slices.Concat(k.kex, k.hostKey, k.ciphers, k.macs) {
		if weakSSH[name] && !slices.Contains(weak, name) {
			weak = append(weak, name)
		}
	}
	slices.Sort(weak)
	return weak
}
