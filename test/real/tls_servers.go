//go:build realservers

package real

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// endpoint is one place where TLS is spoken.
type endpoint struct {
	name     string
	address  string
	port     int
	service  string
	starttls string
	// slow leaves testssl.sh out, which takes minutes for a server that accepts much.
	slow bool
	// numbers of suites by name, filled in by our scan.
	numbers map[string]uint32
}

// tlsConfig is a configuration of nginx or Apache.
type tlsConfig struct {
	name               string
	apache             bool
	protocols, ciphers string
	rsa, ecdsa         bool
	more               string
	slow               bool
}

// tlsConfigs are the configurations in which servers are compared beside those that they come with.
var tlsConfigs = []tlsConfig{
	{name: "everything", protocols: "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3", ciphers: "ALL:COMPLEMENTOFALL:@SECLEVEL=0", rsa: true, ecdsa: true, slow: true},
	{name: "only 1.3", protocols: "TLSv1.3", rsa: true},
	{name: "only 1.0", protocols: "TLSv1", ciphers: "DEFAULT:@SECLEVEL=0", rsa: true, slow: true},
	{name: "1.2 with RSA", protocols: "TLSv1.2", ciphers: "HIGH:!aNULL", rsa: true, more: "ssl_prefer_server_ciphers on;", slow: true},
	{name: "1.2 with ECDSA", protocols: "TLSv1.2", ciphers: "HIGH:!aNULL", ecdsa: true},
	{name: "modern", protocols: "TLSv1.2 TLSv1.3", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305", rsa: true, ecdsa: true},
	{name: "old", apache: true, protocols: "all +TLSv1 +TLSv1.1", ciphers: "ALL:@SECLEVEL=0", rsa: true, slow: true},
	{name: "static RSA", apache: true, protocols: "-all +TLSv1.2", ciphers: "kRSA:@SECLEVEL=0", rsa: true, slow: true},
}

// startTLSConfig starts one of tlsConfigs.
func startTLSConfig(t testing.TB, number int, c tlsConfig) endpoint {
	t.Helper()
	e := endpoint{name: "nginx, " + c.name, address: fmt.Sprintf("127.80.2.%d", 10+number), port: 443, service: "http", slow: c.slow}
	dir := Dir(t)
	var lines strings.Builder
	for _, kind := range []string{"rsa", "ecdsa"} {
		if kind == "rsa" && !c.rsa || kind == "ecdsa" && !c.ecdsa {
			continue
		}
		cert, key := newCertificateOf(t, dir, kind, e.address)
		if c.apache {
			fmt.Fprintf(&lines, "SSLCertificateFile %s\nSSLCertificateKeyFile %s\n", cert, key)
		} else {
			fmt.Fprintf(&lines, "ssl_certificate %s; ssl_certificate_key %s;\n", cert, key)
		}
	}
	listen := []string{net.JoinHostPort(e.address, "443")}
	if c.apache {
		e.name = "Apache, " + c.name
		config := File(t, dir, "apache.conf", fmt.Sprintf(apacheTLS, dir, e.address, c.protocols, c.ciphers, lines.String()))
		Run(t, dir, listen, "apache2", "-D", "FOREGROUND", "-f", config)
		return e
	}
	if c.ciphers != "" {
		fmt.Fprintf(&lines, "ssl_ciphers %q;\n", c.ciphers)
	}
	config := File(t, dir, "nginx.conf", fmt.Sprintf(nginxTLS, dir, e.address, c.protocols, lines.String()+c.more))
	Run(t, dir, listen, "nginx", "-c", config, "-e", dir+"/early.log")
	return e
}

const nginxTLS = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s:443 ssl http2;
		ssl_protocols %[3]s;
		%[4]s
		root %[1]s;
	}
}
`

const apacheTLS = `
ServerRoot %[1]s
ServerName real.test
PidFile %[1]s/apache.pid
Mutex file:%[1]s default
ErrorLog %[1]s/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
User www-data
Group www-data
Listen %[2]s:443
<VirtualHost %[2]s:443>
	SSLEngine on
	SSLProtocol %[3]s
	SSLCipherSuite %[4]s
	%[5]s
</VirtualHost>
`

// newCertificateOf makes a self-signed certificate with a key of a kind, and returns its files.
func newCertificateOf(t testing.TB, dir, kind, address string) (certFile, keyFile string) {
	t.Helper()
	var key crypto.Signer
	var err error
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); kind == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	form := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "real.test"}, DNSNames: []string{"real.test"},
		IPAddresses: []net.IP{net.ParseIP(address)}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 89),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return File(t, dir, kind+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		File(t, dir, kind+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}
