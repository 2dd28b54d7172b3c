package azure

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"strings"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// assertionLasts is how long an assertion is good for: Microsoft suggests 5 to 10 minutes
// (learn.microsoft.com/entra/identity-platform/certificate-credentials).
const assertionLasts = 5 * time.Minute

// credential is an application of the tenant's in its own directory: with a secret, or with a key and its certificate.
type credential struct {
	directory, client, cloud string
	secret                   rest.Secret
	key                      *rsa.PrivateKey
	// thumbprint is of the certificate: base64url of the SHA-256 of its DER.
	thumbprint string
}

// parseCredential reads the JSON of an application. The names of its fields are ours, those that `az ad sp create-for-rbac` prints, and
// those of its --sdk-auth. The error shows nothing of it.
func parseCredential(text []byte) (*credential, error) {
	fields := map[string]string{}
	var raw map[string]json.RawMessage
	if json.Unmarshal(text, &raw) != nil {
		return nil, badCredential("it is no JSON object")
	}
	for name, value := range raw {
		var s string
		if json.Unmarshal(value, &s) == nil {
			fields[strings.ToLower(strings.ReplaceAll(name, "_", ""))] = s
		}
	}
	first := func(names ...string) string {
		for _, n := range names {
			if fields[n] != "" {
				return fields[n]
			}
		}
		return ""
	}
	c := &credential{
		directory: strings.ToLower(first("tenant", "tenantid")), client: strings.ToLower(first("clientid", "appid")),
		cloud: strings.ToLower(first("cloud")), secret: rest.Secret(first("clientsecret", "password")),
	}
	if c.cloud == "" {
		c.cloud = "public"
	}
	if !directoryName(c.directory) {
		return nil, badCredential(`"tenant" is no directory: its UUID or one of its domains`)
	}
	if _, _, ok := target.CloudParts(target.Azure + ":" + c.client); !ok { // the id of an application is a UUID, as a subscription's is
		return nil, badCredential(`"client_id" is no application's UUID`)
	}
	if key := first("privatekey"); key != "" {
		return c, c.certificate(key, first("certificate"))
	}
	if c.secret == "" {
		return nil, badCredential(`it has neither "client_secret" nor "private_key" with "certificate"`)
	}
	return c, nil
}

func badCredential(why string) error {
	return fault.New(fault.FailedPrecondition, "the stored credential for azure cannot be used: %s; store it again", why)
}

// directoryName keeps a directory from being more than a part of a path.
func directoryName(text string) bool {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' }
	return text != "" && len(text) <= 253 && !strings.ContainsFunc(text, odd) && strings.Trim(text, ".") == text && !strings.Contains(text, "..")
}

// certificate takes a key and its certificate, in PEM.
func (c *credential) certificate(key, certificate string) error {
	parsed, err := rest.ParseKey([]byte(key))
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return badCredential(`"certificate" is no certificate in PEM`)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !parsed.PublicKey.Equal(leaf.PublicKey) {
		return badCredential(`"certificate" is not the key's`)
	}
	sum := sha256.Sum256(leaf.Raw)
	c.key, c.thumbprint = parsed, base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}

// exchange gets a token for Azure Resource Manager by the client credentials flow
// (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow).
func (c *credential) exchange(ctx context.Context, client *rest.Client, login string, at place) (rest.Secret, time.Duration, error) {
	path := "/" + c.directory + "/oauth2/v2.0/token"
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.client}, "scope": {at.management + "/.default"}}
	if c.key == nil {
		form.Set("client_secret", string(c.secret))
	} else {
		assertion, err := c.assertion(at.login+path, time.Now())
		if err != nil {
			return "", 0, err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", string(assertion))
	}
	token, lasts, err := rest.Exchange(ctx, client, login+path, form)
	if err != nil {
		return "", 0, rest.Fault(err, "sign in to azure as application "+c.client)
	}
	return token, lasts, nil
}

// assertion is signed with the key of the certificate (learn.microsoft.com/entra/identity-platform/certificate-credentials).
func (c *credential) assertion(audience string, now time.Time) (rest.Secret, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand.Read ends the program instead (Go 1.24)
	return rest.Sign(c.key, rest.PS256, map[string]any{"x5t#S256": c.thumbprint}, map[string]any{
		"aud": audience, "iss": c.client, "sub": c.client, "jti": hex.EncodeToString(id[:]),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(assertionLasts).Unix(),
	})
}
