package tls

import (
	"crypto/dsa" //nolint:staticcheck // old certificates have such keys, and to say so is the aim
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math/big"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of the text taken out of one certificate.
const (
	maxNames  = 100
	maxName   = 253 // RFC 1035 section 2.3.4
	maxText   = 256
	maxSerial = 40 // hex digits: 20 octets (RFC 5280 section 4.1.2.2)
)

// oidNames are the subject alternative names (RFC 5280 section 4.2.1.6).
var oidNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// certificate is what could be read of one certificate. parsed is nil where crypto/x509 refuses it, as it does negative serial
// numbers and other faults that appliances put into their own certificates; then loose has what could be read all the same.
type certificate struct {
	der    []byte
	parsed *x509.Certificate
	loose  *looseCertificate
}

// looseCertificate is the outline of RFC 5280 section 4.1, read without any judgement of what is in it.
type looseCertificate struct {
	TBS struct {
		Version    int `asn1:"optional,explicit,default:0,tag:0"`
		Serial     *big.Int
		Signature  pkix.AlgorithmIdentifier
		Issuer     asn1.RawValue
		Validity   struct{ NotBefore, NotAfter time.Time }
		Subject    asn1.RawValue
		Key        asn1.RawValue
		IssuerID   asn1.BitString   `asn1:"optional,tag:1"`
		SubjectID  asn1.BitString   `asn1:"optional,tag:2"`
		Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
	}
	SignatureAlgorithm pkix.AlgorithmIdentifier
	SignatureValue     asn1.BitString
}

// readCertificate reads a certificate from its DER form. The error says that not even its outline could be read.
func readCertificate(der []byte) (certificate, error) {
	if len(der) > maxCertificate {
		return certificate{}, errors.New("the certificate is too long")
	}
	if parsed, err := x509.ParseCertificate(der); err == nil {
		return certificate{der: der, parsed: parsed}, nil
	}
	var loose looseCertificate
	if _, err := asn1.Unmarshal(der, &loose); err != nil {
		return certificate{}, errors.New("the certificate cannot be read")
	}
	return certificate{der: der, loose: &loose}, nil
}

// fact writes the certificate down.
func (c certificate) fact() *modelv1.Certificate {
	sum := sha256.Sum256(c.der)
	out := &modelv1.Certificate{Sha256: hex.EncodeToString(sum[:])}
	if c.parsed != nil {
		c.parsedFact(out)
	} else {
		c.looseFact(out)
	}
	out.LifetimeDays = lifetime(out.GetNotBefore().AsTime(), out.GetNotAfter().AsTime())
	return out
}

func (c certificate) parsedFact(out *modelv1.Certificate) {
	p := c.parsed
	out.Subject = probes.SafeString(p.Subject.String(), maxText)
	out.Issuer = probes.SafeString(p.Issuer.String(), maxText)
	out.Names = c.names()
	out.NameCount = uint32(len(p.DNSNames) + len(p.IPAddresses))
	out.CommonNameOnly = !hasNames(p.Extensions) && p.Subject.CommonName != "" && !p.IsCA
	out.NotBefore, out.NotAfter = stamp(p.NotBefore), stamp(p.NotAfter)
	out.KeyType, out.KeyBits = keyOf(p.PublicKey)
	out.SignatureHash = hashOf(p.SignatureAlgorithm)
	out.SignatureAlgorithm = p.SignatureAlgorithm.String()
	out.SelfSigned = c.selfSigned()
	out.Ca = p.IsCA
	out.Serial = serialOf(p.SerialNumber)
	out.Version = uint32(p.Version)
	c.usageFact(out)
	sum := sha256.Sum256(p.RawSubjectPublicKeyInfo)
	out.SpkiSha256 = hex.EncodeToString(sum[:])
	if key, ok := p.PublicKey.(*rsa.PublicKey); ok {
		out.RsaExponent, out.Roca = uint64(max(key.E, 0)), rocaKey(key.N)
	}
}

func (c certificate) looseFact(out *modelv1.Certificate) {
	t := c.loose.TBS
	out.Subject, out.Issuer = nameText(t.Subject.FullBytes), nameText(t.Issuer.FullBytes)
	out.Names = c.names()
	out.NameCount = uint32(len(out.Names))
	out.NotBefore, out.NotAfter = stamp(t.Validity.NotBefore), stamp(t.Validity.NotAfter)
	out.SelfSigned = c.selfSigned()
	out.Serial = serialOf(t.Serial)
	out.Version = uint32(min(max(t.Version, 0), 7)) + 1
	out.Malformed = true
	sum := sha256.Sum256(t.Key.FullBytes)
	out.SpkiSha256 = hex.EncodeToString(sum[:])
}

// selfSigned says that subject and issuer are one and, where that can be tested, that its own key signed it.
func (c certificate) selfSigned() bool {
	if c.parsed == nil {
		return string(c.loose.TBS.Subject.FullBytes) == string(c.loose.TBS.Issuer.FullBytes)
	}
	if string(c.parsed.RawSubject) != string(c.parsed.RawIssuer) {
		return false
	}
	if c.heavy() {
		return true // by its names
	}
	err := c.parsed.CheckSignature(c.parsed.SignatureAlgorithm, c.parsed.RawTBSCertificate, c.parsed.Signature)
	insecure := x509.InsecureAlgorithmError(0)
	// MD5 and old SHA-1 signatures are not checked by crypto/x509; the names then have to do.
	return err == nil || errors.As(err, &insecure) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

// maxRSA is the longest RSA key that signatures are checked with. Whoever sends a longer one wants to be computed for: a
// certificate of 64 KiB has room for half a million bits.
const maxRSA = 16 << 10

// heavy says that checking a signature with the certificate's key would take too long.
func (c certificate) heavy() bool {
	if c.parsed == nil {
		return false
	}
	key, ok := c.parsed.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > maxRSA
}

// names lists the DNS names and addresses the certificate is for.
func (c certificate) names() []string {
	var out []string
	add := func(name string) {
		if len(out) < maxNames {
			out = append(out, probes.SafeString(name, maxName))
		}
	}
	if c.parsed != nil {
		for _, name := range c.parsed.DNSNames {
			add(name)
		}
		for _, ip := range c.parsed.IPAddresses {
			add(ip.String())
		}
		return out
	}
	for _, e := range c.loose.TBS.Extensions {
		var list []asn1.RawValue
		if !e.Id.Equal(oidNames) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &list); err != nil {
			continue
		}
		for _, name := range list { // GeneralName: [2] dNSName, [7] iPAddress (RFC 5280 section 4.2.1.6)
			switch {
			case name.Class == asn1.ClassContextSpecific && name.Tag == 2:
				add(string(name.Bytes))
			case name.Class == asn1.ClassContextSpecific && name.Tag == 7 && (len(name.Bytes) == net.IPv4len || len(name.Bytes) == net.IPv6len):
				add(net.IP(name.Bytes).String())
			}
		}
	}
	return out
}

// matches says whether the certificate is for host, a name or an address.
func (c certificate) matches(host string) bool {
	if c.parsed != nil {
		return c.parsed.VerifyHostname(host) == nil
	}
	for _, name := range c.names() {
		_, parent, _ := strings.Cut(host, ".")
		if strings.EqualFold(name, host) || (parent != "" && strings.EqualFold(name, "*."+parent)) {
			return true
		}
	}
	return false
}

func keyOf(key any) (kind string, bits uint32) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return "rsa", uint32(k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ecdsa", uint32(k.Curve.Params().BitSize)
	case ed25519.PublicKey:
		return "ed25519", 256
	case *dsa.PublicKey:
		return "dsa", uint32(k.P.BitLen())
	default:
		return "", 0
	}
}

func hashOf(algorithm x509.SignatureAlgorithm) string {
	switch algorithm {
	case x509.MD2WithRSA:
		return "md2"
	case x509.MD5WithRSA:
		return "md5"
	case x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return "sha1"
	case x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		return "sha256"
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return "sha384"
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS, x509.PureEd25519:
		return "sha512" // RFC 8032 section 5.1: Ed25519 hashes with SHA-512
	default:
		return ""
	}
}

func serialOf(serial *big.Int) string {
	if serial == nil {
		return ""
	}
	text := serial.Text(16)
	return text[:min(len(text), maxSerial)]
}

func nameText(raw []byte) string {
	var sequence pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &sequence); err != nil {
		return ""
	}
	return probes.SafeString(sequence.String(), maxText)
}

// stamp is t, or nil where protobuf has no such time: ASN.1 knows a year 0.
func stamp(t time.Time) *timestamppb.Timestamp {
	if out := timestamppb.New(t); out.IsValid() {
		return out
	}
	return nil
}

// lifetime is the whole days from notBefore to notAfter, both seconds included (RFC 5280 section 4.1.2.5).
func lifetime(notBefore, notAfter time.Time) uint32 {
	seconds := notAfter.Unix() - notBefore.Unix() + 1
	if seconds <= 0 {
		return 0
	}
	return uint32(min(seconds/86400, 1<<31))
}
