//go:build realservers

package real

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certificate is a pair of PEM files that the test made, signed by itself.
type Certificate struct {
	// CertFile holds the certificate, KeyFile its key, and BothFile the two one after the other.
	CertFile, KeyFile, BothFile string
}

// NewCertificate makes a certificate with a P-256 key for a name and an address, valid from yesterday for 90 days.
func NewCertificate(t testing.TB, dir, name, address string) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.ParseIP(address)}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 89),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return Certificate{
		CertFile: File(t, dir, "tls/cert.pem", certificate),
		KeyFile:  File(t, dir, "tls/key.pem", private),
		BothFile: File(t, dir, "tls/both.pem", certificate+private),
	}
}
