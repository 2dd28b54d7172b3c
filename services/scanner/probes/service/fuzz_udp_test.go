package service

import (
	"bytes"
	"context"
	"net"
	"os"
	"testing"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// cannedUDP is a connection that brings the same datagrams in turn, whatever it is told, and then nothing.
type cannedUDP struct {
	canned
	list [][]byte
}

func (c *cannedUDP) Read(b []byte) (int, error) {
	if len(c.list) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, c.list[0])
	c.list = c.list[1:]
	return n, nil
}

// FuzzDatagrams lets a service say anything to the questions of each protocol over UDP: twice the same, because many ask twice.
func FuzzDatagrams(f *testing.F) {
	for i, seed := range []string{
		"0\x26\x02\x01\x01\x04\x06public\xa2\x19\x02\x02ri\x02\x01\x00\x02\x01\x000\x0d0\x0b\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x04\x00", "\x24\x02\x06\xec", "\x16\x82\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09version=\"",
		"\x06\x00\xff\x07\x00", "rp\x84\x00\x00\x01\x00\x01", "HTTP/1.1 200 OK\r\nSERVER: a\r\n\r\n", ikeCookie + "12345678\x01\x10\x02\x00\x00\x00\x00\x00\x00\x00\x00\x1c", "\x40serversi\x01\x00\x00\x00\x00riskprof",
		"\x01\x01\x00\x04\x21\x12\xa4\x42riskprofiler\x80\x22\x00\x00", "SIP/2.0 200 OK\r\n", "\x60\x45rp\xff<a>", "\x81\x0a\x00\x09\x01\x00\x30\x01\x0c", "rp\x00\x00\x00\x01\x00\x00VERSION 1\r\n", "\x05\x00\x00InstanceName",
		"\x01\x00\x00\x07\x03\x00\x04abcd", "\x63\x00\x00\x00", "<d:ProbeMatches><d:Types>a</d:Types>", "\x00\x05\x00\x01x\x00",
	} {
		f.Add([]byte(seed), []byte(seed), uint8(i))
	}
	all := datagramTable()
	f.Fuzz(func(t *testing.T, first, next []byte, which uint8) {
		if len(first) > 64<<10 || len(next) > 64<<10 {
			return
		}
		p := &prober{reach: "192.0.2.1", port: 161, patience: patienceOf(false), thorough: true}
		p.connect = func(context.Context, string, string) (net.Conn, error) {
			return &cannedUDP{list: [][]byte{first, next, first, next}}, nil
		}
		answer := p.askDatagram(t.Context(), all[int(which)%len(all)])
		if answer.mistake != "" {
			t.Fatal(answer.mistake)
		}
		if len(answer.raw) > probes.MaxBannerBytes {
			t.Fatalf("%d bytes kept", len(answer.raw))
		}
		if fact := answer.fact; fact != nil {
			checkSafe(t, fact)
			if fact.GetName() == "" || fact.GetUnauthenticated() != (fact.GetProof() != "") {
				t.Fatalf("%v", fact)
			}
		}
	})
}

// FuzzParsers reads what the further protocols send.
func FuzzParsers(f *testing.F) {
	f.Add([]byte(db2Answer()[10:]))
	f.Add([]byte(be32(1) + xdr("/srv") + be32(1) + xdr("*") + be32(0) + be32(0)))
	f.Add([]byte(be32(1) + be32(7) + be16(5) + "node1" + be32(9092)))
	f.Add([]byte(cqlRows("3.11.4")[9:]))
	f.Add([]byte(ntlmAnswer(10, 0, 17763)[4:]))
	f.Add(identityAnswer()[24:])
	f.Add([]byte("\x02\x01\x02\x64\x05\x04\x03a=b\x30\x00"))
	f.Add(append(make([]byte, 56), "\x02FILESERVER     \x20\x04\x00"...))
	f.Add([]byte("9.2p1 Debian-2+deb12u3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(parseDRDA(data)) > 32 || len(parseExports(data)) > 32 || len(rpcNames(rpcPrograms(data))) > 64 {
			t.Fatal("more than the bound")
		}
		_, host, _ := kafkaBrokers(data)
		if len(host) > len(data)+11 {
			t.Fatalf("a host of %d bytes out of %d", len(host), len(data))
		}
		if value, err := parseOneValue(data); err == nil && len(value) > len(data) {
			t.Fatalf("%q", value)
		}
		fact := named("x")
		smbIdentity(fact, data)
		ldapDetails(fact, data)
		checkSafe(t, fact)
		checkSafe(t, identityFact(data))
		checkSafe(t, sipFact(data))
		_ = ldapEntry(data)
		if len(data) >= 57 {
			if names, _ := parseNodeStatus(data); len(names) > 32 {
				t.Fatalf("%d names", len(names))
			}
		}
		if len(data) >= 12 {
			if kinds := mdnsKinds(data); len(kinds) > 32 {
				t.Fatalf("%d kinds", len(kinds))
			}
			ntp := named("ntp")
			ntpVariables(ntp, data)
			checkSafe(t, ntp)
			checkSafe(t, dnsFact(data))
		}
		if isIKE(data) && len(ikeVendors(data)) > 8 {
			t.Fatal("more than eight vendors")
		}
		_ = bacnetText(data, 70)
		if text := parseOID(data); len(text) > 32*21 {
			t.Fatalf("%q", text)
		}
		_, _ = parseSNMP(data)
		if engine, err := parseEngine(data); err == nil && (len(engine) < 5 || len(engine) > 32) {
			t.Fatalf("engine of %d bytes", len(engine))
		}
		text := string(data)
		packaged := named("ssh")
		setProduct(packaged, "OpenSSH", "openbsd", "openssh", "9.2p1")
		before, after, _ := bytes.Cut(data, []byte("-"))
		setPackage(packaged, "openssh", string(before), string(after))
		systemIn(packaged, text)
		checkSafe(t, packaged)
		_ = isOpenWire(data) && greetingComplete(data)
		_ = pgRevision(text)
		_ = headerOf(data, "server")
		_ = elementText(data, "Types")
	})
}
