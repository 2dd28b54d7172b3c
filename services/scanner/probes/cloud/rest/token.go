package rest

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// maxToken bounds a token. Entra ID's are about 2 KB; Google says to allow for 2,048 bytes
	// (developers.google.com/identity/protocols/oauth2#size); a header block may have 8 KB with most servers.
	maxToken = 8 << 10
	// leastKeyBits and mostKeyBits are what an RSA key may have: below 2048 is weak (NIST SP 800-131A), above 8192 is a way to burn time.
	leastKeyBits, mostKeyBits = 2048, 8192
	// earlier is how long before its end a token is no longer used.
	earlier = 2 * time.Minute
)

// Exchange asks a token endpoint with a form (RFC 6749 section 4.4, RFC 7523 section 2.1) and reads the token of its answer.
func Exchange(ctx context.Context, c *Client, endpoint string, form url.Values) (Secret, time.Duration, error) {
	body, err := c.Do(ctx, Request{Method: http.MethodPost, URL: endpoint, ContentType: "application/x-www-form-urlencoded", Body: []byte(form.Encode())})
	if err != nil {
		return "", 0, err
	}
	return parseToken(body)
}

// parseToken reads an access token response (RFC 6749 section 5.1).
func parseToken(body []byte) (Secret, time.Duration, error) {
	var answer struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int64  `json:"expires_in"`
	}
	if json.Unmarshal(body, &answer) != nil || !bearer(answer.Token) {
		return "", 0, broken("its answer has no token in it")
	}
	return Secret(answer.Token), time.Duration(min(max(answer.Expires, 0), 24*60*60)) * time.Second, nil
}

// Bearer says whether a text can be a token: what a header may hold (RFC 6750 section 2.1).
func Bearer(text string) bool { return bearer(text) }

func bearer(text string) bool {
	for i := range len(text) {
		c := text[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' || c == '+' || c == '/' || c == '='
		if !ok {
			return false
		}
	}
	return text != "" && len(text) <= maxToken
}

// Cached is fetch with a memory: a token is asked for once, and again shortly before it ends.
func Cached(fetch func(context.Context) (Secret, time.Duration, error)) func(context.Context) (Secret, error) {
	var mu sync.Mutex
	var token Secret
	var until time.Time
	return func(ctx context.Context) (Secret, error) {
		mu.Lock()
		defer mu.Unlock()
		if token != "" && time.Now().Before(until) {
			return token, nil
		}
		fresh, lasts, err := fetch(ctx)
		if err != nil {
			return "", err
		}
		token, until = fresh, time.Now().Add(max(lasts-earlier, 0))
		return token, nil
	}
}

// ParseKey reads an RSA key in PEM (PKCS #8 or PKCS #1). The error shows nothing of it.
func ParseKey(text []byte) (*rsa.PrivateKey, error) {
	bad := fault.New(fault.FailedPrecondition, "the credential's private key is no RSA key of %d to %d bits in PEM; make a new one", leastKeyBits, mostKeyBits)
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, bad
	}
	var key *rsa.PrivateKey
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		key, _ = parsed.(*rsa.PrivateKey)
	} else if parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		key = parsed
	}
	if key == nil || key.N.BitLen() < leastKeyBits || key.N.BitLen() > mostKeyBits {
		return nil, bad
	}
	return key, nil
}

// Algorithms of signatures (RFC 7518 section 3.1).
const (
	RS256 = "RS256"
	PS256 = "PS256"
)

// Sign makes a signed JSON Web Token (RFC 7519, RFC 7515 section 3.1). header gets alg and typ.
func Sign(key *rsa.PrivateKey, alg string, header, claims map[string]any) (Secret, error) {
	header["alg"], header["typ"] = alg, "JWT"
	first, err := json.Marshal(header)
	if err != nil {
		return "", fault.New(fault.Internal, "encode the head of a token")
	}
	second, err := json.Marshal(claims)
	if err != nil {
		return "", fault.New(fault.Internal, "encode the claims of a token")
	}
	text := base64.RawURLEncoding.EncodeToString(first) + "." + base64.RawURLEncoding.EncodeToString(second)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	if alg == PS256 {
		signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		return "", fault.New(fault.FailedPrecondition, "the credential's private key cannot sign; make a new one")
	}
	return Secret(text + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}
