package lab

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/ocsp"
)

// helloFor writes a ClientHello without extensions but heartbeat.
func helloFor(version uint16, suites ...uint16) []byte {
	b := cryptobyte.NewBuilder([]byte{recordHandshake, 3, 1})
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(version)
			b.AddBytes(make([]byte, 32))
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, s := range suites {
					b.AddUint16(s)
				}
			})
			b.AddBytes([]byte{1, 0})
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte{0, extensionHeartbeat, 0, 1, 1}) })
		})
	})
	return b.BytesOrPanic()
}

// What the old servers choose is what the table says, told by hand-written hellos.
func TestLegacyServersChoose(t *testing.T) {
	l := startLab(t, Options{})
	for _, test := range []struct {
		number, port   int
		hello          []byte
		kind           byte
		version, suite uint16
	}{
		{30, 20441, helloFor(tls.VersionTLS12, 0xc02f, 0x000a, 0x0005), recordHandshake, versionSSL3, 0x0005},
		{30, 20442, helloFor(tls.VersionTLS12, 0x0014, 0x0018), recordHandshake, tls.VersionTLS10, 0x0018},
		{30, 20442, helloFor(tls.VersionTLS12, 0xc02f), recordAlert, 0, 0},
		{30, 20443, helloFor(tls.VersionTLS12, 0xc02f, 0x009c), recordHandshake, tls.VersionTLS12, 0x009c},
		{30, 20444, helloFor(tls.VersionTLS11, 0x0007, suiteFallback), recordHandshake, tls.VersionTLS10, 0x0007},
		{31, 20451, helloFor(tls.VersionTLS12, 0x009c), recordHandshake, tls.VersionTLS12, 0x009c},
	} {
		conn := dial(t, l.at(test.number, test.port))
		if _, err := conn.Write(test.hello); err != nil {
			t.Fatal(err)
		}
		kind, body, ok := readTLSRecord(conn)
		if !ok || kind != test.kind {
			t.Errorf("port %d: record %d, want %d", test.port, kind, test.kind)
			continue
		}
		if kind == recordAlert {
			continue
		}
		version, suite := uint16(body[4])<<8|uint16(body[5]), uint16(body[39])<<8|uint16(body[40])
		if version != test.version || suite != test.suite {
			t.Errorf("port %d: version %04x, suite %04x; want %04x, %04x", test.port, version, suite, test.version, test.suite)
		}
	}
	conn := dial(t, l.at(30, 20441))
	if _, err := conn.Write([]byte{0x80, 14, 1, 0, 2, 0, 3, 0, 0, 0, 2, 1, 0, 0x80, 1, 2}); err != nil {
		t.Fatal(err)
	}
	var head [7]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[2] != 4 || head[6] != 2 {
		t.Errorf("SSLv2: %x, %v", head, err)
	}
}

// A leak of the lab leaks what was made up, and a server that answers it is told from one that does not.
func TestHeartbeatLeak(t *testing.T) {
	l := startLab(t, Options{})
	conn := dial(t, l.at(31, 20451))
	if _, err := conn.Write(append(helloFor(tls.VersionTLS12, 0x009c), recordHeartbeat, 3, 3, 0, 3, 1, 0, 1)); err != nil {
		t.Fatal(err)
	}
	for {
		kind, body, ok := readTLSRecord(conn)
		if !ok {
			t.Fatal("no heartbeat came back")
		}
		if kind == recordHeartbeat {
			if !bytes.Equal(body, append([]byte{2, 0, 1, 'x'}, make([]byte, 16)...)) {
				t.Errorf("leaked %x", body)
			}
			return
		}
	}
}

// The odd certificates are odd as the table says.
func TestPapers(t *testing.T) {
	l := startLab(t, Options{})
	status := func(s tls.ConnectionState) *ocsp.Response {
		out, err := ocsp.ParseResponseForCert(s.OCSPResponse, s.PeerCertificates[0], s.PeerCertificates[1])
		if err != nil {
			return &ocsp.Response{Status: -1}
		}
		return out
	}
	stapleWanted := func(c *x509.Certificate) bool {
		return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "1.3.6.1.5.5.7.1.24" })
	}
	for port, odd := range map[int]func(tls.ConnectionState) bool{
		20461: func(s tls.ConnectionState) bool { return status(s).Status == ocsp.Revoked },
		20462: func(s tls.ConnectionState) bool {
			return status(s).Status == ocsp.Good && status(s).NextUpdate.Before(time.Now())
		},
		20463: func(s tls.ConnectionState) bool { return status(s).Status == -1 && len(s.OCSPResponse) > 0 },
		20464: func(s tls.ConnectionState) bool {
			return status(s).Status == ocsp.Good && stapleWanted(s.PeerCertificates[0])
		},
		20465: func(s tls.ConnectionState) bool {
			return len(s.OCSPResponse) == 0 && stapleWanted(s.PeerCertificates[0])
		},
		20466: func(s tls.ConnectionState) bool {
			return slices.Equal(s.PeerCertificates[0].ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
		},
		20467: func(s tls.ConnectionState) bool { return s.PeerCertificates[0].IsCA },
		20468: func(s tls.ConnectionState) bool { return len(s.PeerCertificates[0].DNSNames) == 0 },
		20469: func(s tls.ConnectionState) bool {
			key, ok := s.PeerCertificates[1].PublicKey.(*rsa.PublicKey)
			return ok && key.N.BitLen() == 1024
		},
		20470: func(s tls.ConnectionState) bool {
			return s.PeerCertificates[1].NotAfter.Before(time.Now()) && s.PeerCertificates[0].NotAfter.After(time.Now())
		},
		20471: func(s tls.ConnectionState) bool { return len(s.PeerCertificates) == 4 },
		20472: func(s tls.ConnectionState) bool { return s.PeerCertificates[0].Subject.CommonName == "localhost" },
	} {
		state, err := shake(t, l.at(32, port), "papers.acme.test", &tls.Config{})
		if err != nil || !odd(state) {
			t.Errorf("port %d: %v, not odd as it should be", port, err)
		}
	}
	key := rocaKey()
	for _, p := range []int64{3, 5, 11, 37, 167} {
		rest := new(big.Int).Mod(key.N, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == rest
			power = power * (65537 % p) % p
		}
		if !found {
			t.Errorf("the modulus is no power of 65537 modulo %d", p)
		}
	}
}
