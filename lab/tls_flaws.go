package lab

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net"
	"time"

	"golang.org/x/crypto/ocsp"
)

// prefixed is a connection whose first bytes were read already.
type prefixed struct {
	net.Conn
	first io.Reader
}

// Read takes the bytes read ahead first.
func (p prefixed) Read(b []byte) (int, error) { return p.first.Read(b) }

// ticketbleed serves TLS 1.2 as it should be, but answers a hello with a session id of one byte by an id of 32 bytes, as F5
// BIG-IP did (CVE-2016-9244). The bytes are zeros.
func ticketbleed(t tlsServer) starter {
	return func(ctx context.Context, r *running, h host, s sockets) error {
		config, err := t.config(r, h)
		if err != nil {
			return err
		}
		r.stream(ctx, s.tcp, func(ctx context.Context, conn net.Conn) {
			var read bytes.Buffer
			_, body, ok := readTLSRecord(io.TeeReader(conn, &read))
			hello, good := parseClientHello(body)
			switch {
			case !ok || !good:
			case len(hello.sessionID) == 1:
				head := append([]byte{2, 0, 0, 70, 3, 3}, make([]byte, 32)...)
				head = append(append(head, 32, hello.sessionID[0]), make([]byte, 31)...)
				_, _ = conn.Write(append([]byte{recordHandshake, 3, 3, 0, 74}, append(head, 0xc0, 0x2b, 0)...))
			default:
				shakeHands(ctx, prefixed{conn, io.MultiReader(&read, conn)}, config)
			}
		})
		return nil
	}
}

// renegotiating begins a new handshake whenever a client asks: whatever handshake message comes after the first handshake, it
// answers with a handshake record. Nobody could read what is in it, which a scanner does not try.
func renegotiating(t tlsServer) starter {
	return func(ctx context.Context, r *running, h host, s sockets) error {
		config, err := t.config(r, h)
		if err != nil {
			return err
		}
		r.stream(ctx, s.tcp, func(ctx context.Context, conn net.Conn) {
			if tls.Server(conn, config).HandshakeContext(ctx) != nil {
				return
			}
			if kind, _, ok := readTLSRecord(conn); ok && kind == recordHandshake {
				_, _ = conn.Write(append([]byte{recordHandshake, 3, 3, 0, 64}, make([]byte, 64)...))
			}
		})
		return nil
	}
}

// shakeHands completes a handshake and waits for the client to leave.
func shakeHands(ctx context.Context, conn net.Conn, config *tls.Config) {
	secure := tls.Server(conn, config)
	if secure.HandshakeContext(ctx) == nil {
		_, _ = secure.Read(make([]byte, 1))
	}
}

// smtpSmuggled is SMTP with STARTTLS that carries out inside of TLS what came in clear behind STARTTLS (CVE-2011-0411).
func smtpSmuggled(t tlsServer) starter {
	return func(ctx context.Context, r *running, h host, s sockets) error {
		config, err := t.config(r, h)
		if err != nil {
			return err
		}
		config.NextProtos = nil
		r.stream(ctx, s.tcp, func(ctx context.Context, conn net.Conn) {
			in := readLines(conn)
			say(conn, "220 %s ESMTP", h.name)
			for {
				line, ok := in.next()
				verb, _ := command(line)
				switch {
				case !ok || verb == "QUIT":
					return
				case verb == "EHLO":
					say(conn, "250-%s\r\n250 STARTTLS", h.name)
				case verb == "MAIL" || verb == "RCPT" || verb == "DATA":
					say(conn, "554 5.7.1 Error: this server takes no mail")
				case verb != "STARTTLS":
					say(conn, "250 2.0.0 Ok")
				default:
					say(conn, "220 2.0.0 Ready to start TLS")
					kept, _ := in.r.Peek(in.r.Buffered())
					secure := tls.Server(conn, config)
					if secure.HandshakeContext(ctx) == nil {
						smtpSession(prefixed{secure, io.MultiReader(bytes.NewReader(bytes.Clone(kept)), secure)}, h.name, nil)
					}
					return
				}
			}
		})
		return nil
	}
}

// staple makes an OCSP response of the lab's issuer with the given status, whose next update is due after left.
func staple(status int, left time.Duration) func(*authority, *x509.Certificate) ([]byte, error) {
	return func(a *authority, leaf *x509.Certificate) ([]byte, error) {
		return ocsp.CreateResponse(a.intermediate, a.intermediate, ocsp.Response{
			Status: status, SerialNumber: leaf.SerialNumber, ThisUpdate: a.now.Add(-7 * day), NextUpdate: a.now.Add(left),
			RevokedAt: a.now.Add(-day), RevocationReason: ocsp.KeyCompromise,
		}, a.intermediateKey)
	}
}

// mustStaple adds the extension of RFC 7633 with status_request.
func mustStaple(form *x509.Certificate) {
	form.ExtraExtensions = append(form.ExtraExtensions, pkix.Extension{
		Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05},
	})
}

// negativeSerial turns the serial number of the leaf negative, as appliances do; the signature is wrong after that, which nobody
// without its issuer can tell.
func negativeSerial(chain [][]byte) [][]byte {
	leaf := bytes.Clone(chain[0])
	// The first INTEGER with a length of 16 or less behind the version is the serial number (RFC 5280 section 4.1).
	at := bytes.Index(leaf, []byte{0xa0, 3, 2, 1, 2}) + 5
	leaf[at+2] |= 0x80
	return append([][]byte{leaf}, chain[1:]...)
}

// rocaKey is a public key with the mark of CVE-2017-15361: modulo each small prime it is a power of 65537. Nobody has its private
// half.
func rocaKey() *rsa.PublicKey {
	product, power := big.NewInt(1), big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	power.Exp(big.NewInt(65537), big.NewInt(1234567), product)
	n := new(big.Int).Lsh(big.NewInt(3), 2046)
	n.Sub(n, new(big.Int).Mod(n, product))
	return &rsa.PublicKey{N: n.Add(n, power), E: 65537}
}
