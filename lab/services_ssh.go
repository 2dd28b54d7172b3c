package lab

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"strings"
)

// sshServer says what an SSH server announces: its identification line and the algorithms of its first key exchange
// message. It goes no further than that.
type sshServer struct {
	identification     string
	keyExchange, hosts []string
	ciphers, macs      []string
}

// Algorithms of today, all of OpenSSH 10's defaults.
var (
	strongKeyExchange = []string{"mlkem768x25519-sha256", "sntrup761x25519-sha512", "curve25519-sha256", "ecdh-sha2-nistp256"}
	strongHostKeys    = []string{"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}
	strongCiphers     = []string{"chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr"}
	strongMACs        = []string{"hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"}
)

// sshStrong is a server of today with the given software name.
func sshStrong(identification string) talk {
	return sshServer{identification, strongKeyExchange, strongHostKeys, strongCiphers, strongMACs}.talk
}

// sshWeak offers what has been broken or withdrawn (RFC 9142, RFC 8758).
func sshWeak(identification string) talk {
	return sshServer{
		identification: identification,
		keyExchange:    []string{"diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"},
		hosts:          []string{"ssh-rsa", "ssh-dss"},
		ciphers:        []string{"3des-cbc", "arcfour", "aes128-cbc"},
		macs:           []string{"hmac-md5", "hmac-sha1-96", "hmac-sha1"},
	}.talk
}

// maxSSHPacket is what every implementation must take (RFC 4253, section 6.1).
const maxSSHPacket = 35000

// talk exchanges identification lines and the first packet, and leaves at the next step.
func (s sshServer) talk(_ context.Context, conn net.Conn) {
	if _, err := io.WriteString(conn, s.identification+"\r\n"); err != nil {
		return
	}
	if _, err := conn.Write(sshPacket(s.kexInit())); err != nil {
		return
	}
	in := bufio.NewReaderSize(conn, maxLine)
	if _, err := in.ReadSlice('\n'); err != nil {
		return
	}
	// The client's own KEXINIT; what it asks for then is beyond this server.
	head := make([]byte, 4)
	if _, err := io.ReadFull(in, head); err != nil {
		return
	}
	size := binary.BigEndian.Uint32(head)
	if size > maxSSHPacket {
		return
	}
	if _, err := io.CopyN(io.Discard, in, int64(size)); err != nil {
		return
	}
	_, _ = in.ReadByte()
}

// kexInit returns SSH_MSG_KEXINIT (RFC 4253, section 7.1).
func (s sshServer) kexInit() []byte {
	const message = 20
	cookie := make([]byte, 16)
	// crypto/rand.Read never fails (since Go 1.24).
	_, _ = rand.Read(cookie)
	payload := append([]byte{message}, cookie...)
	both := []string{"none"}
	for _, names := range [][]string{s.keyExchange, s.hosts, s.ciphers, s.ciphers, s.macs, s.macs, both, both, nil, nil} {
		list := strings.Join(names, ",")
		payload = binary.BigEndian.AppendUint32(payload, uint32(len(list)))
		payload = append(payload, list...)
	}
	// No guessed packet follows; four reserved bytes.
	return append(payload, make([]byte, 5)...)
}

// sshPacket wraps a payload in the binary packet protocol before encryption: padded to 8 bytes with at least 4.
func sshPacket(payload []byte) []byte {
	const block, least = 8, 4
	padding := block - (5+len(payload))%block
	if padding < least {
		padding += block
	}
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	packet = append(packet, byte(padding))
	packet = append(packet, payload...)
	return append(packet, make([]byte, padding)...)
}
