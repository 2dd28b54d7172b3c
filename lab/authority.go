package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Times of certificates.
const (
	day = 24 * time.Hour
	// authorityLife is how long the lab's own certificates are valid.
	authorityLife = 3650 * day
	// authorityAge is how old they are: older than every certificate that they issued.
	authorityAge = 365 * day
	// goodLife keeps below 200 days, the most that a public authority may issue since 15 March 2026 (CA/Browser Forum
	// ballot SC-081v3).
	goodLife = 90 * day
	// soonLeft is what is left of the certificate that expires soon: less than a third of goodLife.
	soonLeft = 5 * day
	// longLife was allowed until 2020 (ballot SC-22 of 2018) and is no more.
	longLife = 825 * day
	// clockSkew backdates a certificate, for machines whose clocks differ.
	clockSkew = time.Hour
)

// authority issues the lab's certificates: a root that no machine trusts, and one intermediate.
type authority struct {
	now              time.Time
	root             *x509.Certificate
	rootKey          *ecdsa.PrivateKey
	intermediate     *x509.Certificate
	intermediateKey  *ecdsa.PrivateKey
	leafKey          *ecdsa.PrivateKey
	rootPEM          []byte
	rootRaw, middRaw []byte
}

func newAuthority(now time.Time) (*authority, error) {
	a := &authority{now: now}
	for _, key := range []**ecdsa.PrivateKey{&a.rootKey, &a.intermediateKey, &a.leafKey} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate key: %w", err)
		}
		*key = k
	}
	var err error
	rootForm := caForm("RiskProfiler lab root", now)
	if a.root, a.rootRaw, err = sign(rootForm, rootForm, a.rootKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	if a.intermediate, a.middRaw, err = sign(caForm("RiskProfiler lab issuer", now), a.root, a.intermediateKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	a.rootPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.rootRaw})
	return a, nil
}

func caForm(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name, Organization: []string{"RiskProfiler lab"}},
		NotBefore:             now.Add(-authorityAge),
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

// sign issues a certificate with a random serial number.
func sign(form, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, []byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("choose serial number: %w", err)
	}
	form.SerialNumber = serial
	raw, err := x509.CreateCertificate(rand.Reader, form, parent, public, key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate for %q: %w", form.Subject.CommonName, err)
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("read own certificate: %w", err)
	}
	return parsed, raw, nil
}

// keyKind is the key of a leaf.
type keyKind int

const (
	keyP256 keyKind = iota
	keyRSA2048
	keyRSA1024
)

// certificate says what a server presents. The zero value is a good one for the host's name, with the whole chain up to the
// root: so a scanner that does not know the root finds an unknown authority and nothing else.
type certificate struct {
	// subject replaces the common name.
	subject string
	// names replaces the host's name.
	names []string
	// age and life place the validity: from age ago, for life. Zero: fresh and goodLife. A negative age lies in the future.
	age, life time.Duration
	key       keyKind
	// selfSigned has no issuer.
	selfSigned bool
	// leafOnly leaves the issuer out of what is sent.
	leafOnly bool
	// sha1 signs with SHA-1.
	sha1 bool
	// change alters the form before it is signed; public replaces the key in it.
	change func(*x509.Certificate)
	public crypto.PublicKey
	// issuer alters the form of an intermediate of its own, which has a key of issuerKey.
	issuer    func(*x509.Certificate)
	issuerKey keyKind
	// arrange changes what is sent: the leaf, its issuer and the root.
	arrange func([][]byte) [][]byte
}

// issue makes the certificate for h.
func (a *authority) issue(c certificate, h host, address net.IP) (tls.Certificate, error) {
	key, err := a.key(c.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	form := a.form(c, h, address)
	if c.change != nil {
		c.change(form)
	}
	if c.selfSigned {
		form.IssuingCertificateURL = nil
		_, raw, err := sign(form, form, key.Public(), key)
		return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, err
	}
	parent, parentRaw, parentKey, err := a.issuerOf(c)
	if err != nil {
		return tls.Certificate{}, err
	}
	public := c.public
	if public == nil {
		public = key.Public()
	}
	_, raw, err := sign(form, parent, public, parentKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	chain := [][]byte{raw, parentRaw, a.rootRaw}
	if c.leafOnly {
		chain = chain[:1]
	}
	if c.arrange != nil {
		chain = c.arrange(chain)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key}, nil
}

// issuerOf is who signs c: the lab's intermediate, or one of its own.
func (a *authority) issuerOf(c certificate) (*x509.Certificate, []byte, crypto.Signer, error) {
	if c.issuer == nil {
		return a.intermediate, a.middRaw, a.intermediateKey, nil
	}
	key, err := a.key(c.issuerKey)
	if err != nil {
		return nil, nil, nil, err
	}
	form := caForm("RiskProfiler lab other issuer", a.now)
	c.issuer(form)
	parsed, raw, err := sign(form, a.root, key.Public(), a.rootKey)
	return parsed, raw, key, err
}

func (a *authority) form(c certificate, h host, address net.IP) *x509.Certificate {
	life := c.life
	if life == 0 {
		life = goodLife
	}
	age := c.age
	if age == 0 {
		age = clockSkew
	}
	from := a.now.Add(-age)
	form := &x509.Certificate{
		NotBefore:   from,
		NotAfter:    from.Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    c.names,
		// By it a scanner can tell a chain without its middle from an authority that nobody knows.
		IssuingCertificateURL: []string{"http://ca.exemplary.test/issuer.crt"},
	}
	if c.key != keyP256 {
		form.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if len(c.names) == 0 {
		if h.name != "" {
			form.DNSNames = []string{h.name}
		} else {
			form.IPAddresses = []net.IP{address}
		}
	}
	form.Subject.CommonName = address.String()
	if len(form.DNSNames) > 0 {
		form.Subject.CommonName = form.DNSNames[0]
	}
	if c.subject != "" {
		form.Subject.CommonName = c.subject
	}
	if c.sha1 {
		form.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	return form
}

func (a *authority) key(kind keyKind) (crypto.Signer, error) {
	switch kind {
	case keyRSA2048:
		return parseKey(rsa2048)
	case keyRSA1024:
		return parseKey(rsa1024)
	default:
		return a.leafKey, nil
	}
}

// tlsServer says how a server speaks TLS. The zero value is as it should be: a good certificate, TLS 1.2 and 1.3, forward
// secrecy.
type tlsServer struct {
	certificate
	// oldest and newest version; zero for TLS 1.2 and 1.3.
	oldest, newest uint16
	// ciphers for versions before 1.3; nil for Go's choice.
	ciphers []uint16
	// curves of the key exchange; nil for Go's choice.
	curves []tls.CurveID
	// staple makes the revocation status that is sent along; nil for none.
	staple func(*authority, *x509.Certificate) ([]byte, error)
}

func (t tlsServer) config(r *running, h host) (*tls.Config, error) {
	cert, err := r.authority.issue(t.certificate, h, r.plan.address(h.number).AsSlice())
	if err != nil {
		return nil, err
	}
	if t.staple != nil {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("read own certificate: %w", err)
		}
		if cert.OCSPStaple, err = t.staple(r.authority, leaf); err != nil {
			return nil, err
		}
	}
	oldest := t.oldest
	if oldest == 0 {
		oldest = tls.VersionTLS12
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   oldest,
		MaxVersion:   t.newest,
		CipherSuites: t.ciphers,

		CurvePreferences: t.curves,
		NextProtos:       []string{"http/1.1"},
	}, nil
}
