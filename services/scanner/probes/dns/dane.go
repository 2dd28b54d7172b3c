package dns

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of one look at a mail exchanger.
const (
	// maxTLSA bounds the records of one exchanger in a fact.
	maxTLSA = 20
	// maxTLSAData bounds the digits of one record in a fact.
	maxTLSAData = 128
	// maxGreeting is how much of its talk is read before TLS.
	maxGreeting = 16 << 10
)

// dane reads the certificates that are pinned for a mail exchanger (RFC 7672), and compares them with those it shows; nil if the
// question was not answered.
func (s *scan) dane(ctx context.Context, host string, list []netip.Addr) *modelv1.Dane {
	name := "_25._tcp." + host
	reply, err := s.resolver.askSigned(ctx, name, mdns.TypeTLSA)
	if err != nil {
		s.miss("TLSA", err)
		return nil
	}
	out := &modelv1.Dane{}
	records := ofType[*mdns.TLSA](reply.Answer, name)
	for _, record := range records[:min(len(records), maxTLSA)] {
		one := tlsaFact(record)
		out.Records = append(out.Records, one)
		out.Error = firstOf(out.GetError(), one.GetError())
	}
	if len(out.GetRecords()) == 0 {
		return out
	}
	slices.SortFunc(out.GetRecords(), func(a, b *modelv1.Tlsa) int { return strings.Compare(a.String(), b.String()) })
	out.Signed = s.secured(ctx, reply, name, mdns.TypeTLSA)
	if s.passive || len(list) == 0 {
		return out
	}
	chain, err := s.certificates(ctx, host, list[0])
	if err != nil || len(chain) == 0 {
		return out // ports of mail are often closed to us: there is nothing to compare
	}
	out.Match = modelv1.Dane_MATCH_DIFFERS
	if slices.ContainsFunc(records, func(record *mdns.TLSA) bool { return pins(record, chain) }) {
		out.Match = modelv1.Dane_MATCH_FITS
	}
	return out
}

// tlsaFact reads one record and says what makes it useless for mail (RFC 7672 section 3.1, RFC 6698 section 2.1).
func tlsaFact(record *mdns.TLSA) *modelv1.Tlsa {
	out := &modelv1.Tlsa{
		Usage: uint32(record.Usage), Selector: uint32(record.Selector), Matching: uint32(record.MatchingType),
		Data: probes.SafeString(record.Certificate[:min(len(record.Certificate), maxTLSAData)], maxTLSAData),
	}
	raw, err := hex.DecodeString(record.Certificate)
	switch {
	case record.Usage < 2:
		out.Error = "usages 0 and 1 mean nothing for mail: use 3 or 2"
	case record.Usage > 3:
		out.Error = "usage " + strconv.Itoa(int(record.Usage)) + " does not exist"
	case record.Selector > 1:
		out.Error = "selector " + strconv.Itoa(int(record.Selector)) + " does not exist"
	case record.MatchingType > 2:
		out.Error = "matching type " + strconv.Itoa(int(record.MatchingType)) + " does not exist"
	case err != nil || record.MatchingType == 1 && len(raw) != sha256.Size || record.MatchingType == 2 && len(raw) != sha512.Size:
		out.Error = "the digest has the wrong length"
	case record.MatchingType == 0 && !readable(record.Selector, raw):
		out.Error = "the certificate or key in it cannot be read"
	}
	return out
}

func readable(selector uint8, raw []byte) bool {
	var err error
	if selector == 0 {
		_, err = x509.ParseCertificate(raw)
	} else {
		_, err = x509.ParsePKIXPublicKey(raw)
	}
	return err == nil
}

// pins says whether a record fits a chain: usage 3 the exchanger's own certificate, usage 2 any of the chain.
func pins(record *mdns.TLSA, chain []*x509.Certificate) bool {
	candidates := chain
	switch record.Usage {
	case 3:
		candidates = chain[:1]
	case 2:
	default:
		return false
	}
	return slices.ContainsFunc(candidates, func(c *x509.Certificate) bool {
		data := c.Raw
		if record.Selector == 1 {
			data = c.RawSubjectPublicKeyInfo
		}
		got := hex.EncodeToString(data)
		switch record.MatchingType {
		case 1:
			sum := sha256.Sum256(data)
			got = hex.EncodeToString(sum[:])
		case 2:
			sum := sha512.Sum512(data)
			got = hex.EncodeToString(sum[:])
		}
		return record.Selector <= 1 && record.MatchingType <= 2 && strings.EqualFold(got, record.Certificate)
	})
}

// certificates asks a mail exchanger for its certificates with STARTTLS (RFC 3207).
func (s *scan) certificates(ctx context.Context, host string, addr netip.Addr) ([]*x509.Certificate, error) {
	if err := s.env.TakePermits(ctx, addr.String(), 1); err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, probes.QuickDialTimeout)
	defer cancel()
	conn, err := s.env.Guard.DialContext(dialCtx, "tcp", net.JoinHostPort(addr.String(), strconv.Itoa(int(s.probe.mailPort))))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(probes.HandshakeTimeout + probes.FirstByteTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := startTLS(conn); err != nil {
		return nil, err
	}
	client := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // G402: the certificate is what we came for
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates, nil
}

// startTLS talks SMTP up to the point where TLS begins.
func startTLS(conn net.Conn) error {
	// One byte at a time at the end would be safer still, but a server that sends more before TLS breaks the protocol anyway.
	r := bufio.NewReader(io.LimitReader(conn, maxGreeting))
	for _, command := range []string{"", "EHLO riskprofiler.example\r\n", "STARTTLS\r\n"} {
		if command != "" {
			if _, err := io.WriteString(conn, command); err != nil {
				return err
			}
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) < 4 || line[0] != '2' {
				return errors.New("the mail exchanger offers no TLS")
			}
			if line[3] != '-' {
				break
			}
		}
	}
	if r.Buffered() > 0 {
		return errors.New("the mail exchanger talks before TLS begins")
	}
	return nil
}
