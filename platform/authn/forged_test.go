package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// object is a JSON object, or JSON text as it is.
type object = any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func text(o object) []byte {
	if s, ok := o.(string); ok {
		return []byte(s)
	}
	data, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return data
}

// forge signs any header and claims.
func forge(header, claims object, key ed25519.PrivateKey) string {
	input := b64(text(header)) + "." + b64(text(claims))
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

// forgeWith puts any signature under a header and claims.
func forgeWith(header, claims object, sign func(input []byte) []byte) string {
	input := b64(text(header)) + "." + b64(text(claims))
	return input + "." + b64(sign([]byte(input)))
}

func header(keys map[string]ed25519.PrivateKey) map[string]any {
	return map[string]any{"alg": "EdDSA", "typ": "rp+jwt", "kid": kidOf(keys, "gateway")}
}

func kidOf(keys map[string]ed25519.PrivateKey, service string) string {
	return KeyID(service, keys[service].Public().(ed25519.PublicKey))
}

func claimsAt(now time.Time) map[string]any {
	return map[string]any{"iss": "gateway", "sub": "user:mallory", "tenant": "t1", "roles": []string{"admin"}, "aud": "riskprofiler",
		"iat": now.Unix(), "exp": now.Add(TokenLifetime).Unix()}
}

// with changes some members; nil removes one.
func with(o map[string]any, kv ...any) map[string]any {
	out := maps.Clone(o)
	for i := 0; i < len(kv); i += 2 {
		name, _ := kv[i].(string)
		if kv[i+1] == nil {
			delete(out, name)
			continue
		}
		out[name] = kv[i+1]
	}
	return out
}

// forger is what the table of forged tokens is made with. It holds the real keys: what is wrong
// with a token is then only what its name says.
type forger struct {
	t      *testing.T
	keys   map[string]ed25519.PrivateKey
	own    ed25519.PrivateKey // a key that no ring has
	rsaKey *rsa.PrivateKey
	url    string // a server that would hand out own's public key
	head   map[string]any
	claims map[string]any
}

func (f *forger) gateway() ed25519.PrivateKey { return f.keys["gateway"] }

func (f *forger) algorithms() map[string]string {
	public := []byte(f.gateway().Public().(ed25519.PublicKey))
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(public))
	if err != nil {
		f.t.Fatal(err)
	}
	pemText := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	mac := func(key []byte) func([]byte) []byte {
		return func(in []byte) []byte {
			h := hmac.New(sha256.New, key)
			h.Write(in)
			return h.Sum(nil)
		}
	}
	none := func([]byte) []byte { return nil }
	out := map[string]string{
		"HS256 with the public key's bytes": forgeWith(with(f.head, "alg", "HS256"), f.claims, mac(public)),
		"HS256 with the public key's DER":   forgeWith(with(f.head, "alg", "HS256"), f.claims, mac(der)),
		"HS256 with the public key's PEM":   forgeWith(with(f.head, "alg", "HS256"), f.claims, mac(pemText)),
		"HS384":                             forgeWith(with(f.head, "alg", "HS384"), f.claims, mac(public)),
		"HS256 with an empty key":           forgeWith(with(f.head, "alg", "HS256"), f.claims, mac(nil)),
		"HMAC under EdDSA's name":           forgeWith(f.head, f.claims, mac(public)),
		"ES256":                             forgeWith(with(f.head, "alg", "ES256"), f.claims, f.ecdsa),
		"RS256":                             forgeWith(with(f.head, "alg", "RS256"), f.claims, f.rsa),
		"PS256":                             forgeWith(with(f.head, "alg", "PS256"), f.claims, f.rsa),
		"no alg":                            forge(with(f.head, "alg", nil), f.claims, f.gateway()),
		"alg is a number":                   forge(with(f.head, "alg", 7), f.claims, f.gateway()),
		"alg is a list":                     forge(with(f.head, "alg", []string{"EdDSA"}), f.claims, f.gateway()),
		"alg is null":                       forge(`{"alg":null,"typ":"rp+jwt","kid":"`+kidOf(f.keys, "gateway")+`"}`, f.claims, f.gateway()),
		"alg twice, none last":              forge(`{"alg":"EdDSA","typ":"rp+jwt","kid":"`+kidOf(f.keys, "gateway")+`","alg":"none"}`, f.claims, f.gateway()),
		"unknown alg":                       forge(with(f.head, "alg", "Ed448"), f.claims, f.gateway()),
		"alg's other name":                  forge(with(f.head, "alg", "Ed25519"), f.claims, f.gateway()),
	}
	for _, name := range []string{"none", "None", "NONE", "nOnE", "", "eddsa", "EDDSA", " EdDSA"} {
		out["alg "+name+" unsigned"] = forgeWith(with(f.head, "alg", name), f.claims, none)
		out["alg "+name+" signed"] = forge(with(f.head, "alg", name), f.claims, f.gateway())
	}
	return out
}

func (f *forger) ecdsa(in []byte) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	sum := sha256.Sum256(in)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return sig
}

func (f *forger) rsa(in []byte) []byte {
	if f.rsaKey == nil {
		var err error
		if f.rsaKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			f.t.Fatal(err)
		}
	}
	sum := sha256.Sum256(in)
	sig, err := rsa.SignPKCS1v15(rand.Reader, f.rsaKey, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return sig
}

// keyTricks sign with a key of the forger's, and point to it; or with a real one that is not the
// issuer's.
func (f *forger) keyTricks() map[string]string {
	public := f.own.Public().(ed25519.PublicKey)
	jwk := map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "kid": "own"}
	out := map[string]string{
		"unknown key":                  forge(f.head, f.claims, f.own),
		"another service's key":        forge(f.head, f.claims, f.keys["scanner"]),
		"another service's kid":        forge(with(f.head, "kid", kidOf(f.keys, "scanner")), f.claims, f.keys["scanner"]),
		"another service as issuer":    forge(f.head, with(f.claims, "iss", "scanner"), f.gateway()),
		"jwk":                          forge(with(f.head, "jwk", jwk), f.claims, f.own),
		"jwk with its own kid":         forge(with(f.head, "jwk", jwk, "kid", "own"), f.claims, f.own),
		"jku":                          forge(with(f.head, "jku", f.url+"/keys.json", "kid", "own"), f.claims, f.own),
		"x5u":                          forge(with(f.head, "x5u", f.url+"/cert.pem"), f.claims, f.own),
		"x5c":                          forge(with(f.head, "x5c", []string{base64.StdEncoding.EncodeToString(public)}), f.claims, f.own),
		"jku, rightly signed":          forge(with(f.head, "jku", f.url+"/keys.json"), f.claims, f.gateway()),
		"crit, rightly signed":         forge(with(f.head, "crit", []string{"exp"}), f.claims, f.gateway()),
		"b64 false, rightly signed":    forge(with(f.head, "b64", false), f.claims, f.gateway()),
		"zip, rightly signed":          forge(with(f.head, "zip", "DEF"), f.claims, f.gateway()),
		"cty JWT, rightly signed":      forge(with(f.head, "cty", "JWT"), f.claims, f.gateway()),
		"typ JWT":                      forge(with(f.head, "typ", "JWT"), f.claims, f.gateway()),
		"typ at+jwt":                   forge(with(f.head, "typ", "at+jwt"), f.claims, f.gateway()),
		"no typ":                       forge(with(f.head, "typ", nil), f.claims, f.gateway()),
		"no kid":                       forge(with(f.head, "kid", nil), f.claims, f.gateway()),
		"no kid but three members":     forge(with(f.head, "kid", nil, "x", 1), f.claims, f.gateway()),
		"kid is a number":              forge(with(f.head, "kid", 1), f.claims, f.gateway()),
		"all-zero key and signature":   forgeWith(f.head, f.claims, func([]byte) []byte { return make([]byte, 64) }),
		"signature of the small order": forgeWith(f.head, f.claims, func([]byte) []byte { return append([]byte{1}, make([]byte, 63)...) }),
	}
	for _, kid := range []string{
		"", "gateway", "gateway.pub", "../gateway.pub", "../../../../dev/null", "/dev/null", "/etc/passwd", "gateway.pub\x00", "' OR '1'='1", "%2e%2e/x",
		f.url + "/keys.json", "file:///dev/null", "|cat /etc/passwd", "gateway.*", strings.Repeat("k", 4000), strings.ToUpper(kidOf(f.keys, "gateway")),
	} {
		out["kid "+kid[:min(len(kid), 30)]] = forge(with(f.head, "kid", kid), f.claims, f.own)
	}
	return out
}

func (f *forger) claimTricks() map[string]string {
	now := time.Now()
	sign := func(c object) string { return forge(f.head, c, f.gateway()) }
	return map[string]string{
		"expired":                           sign(claimsAt(now.Add(-time.Hour))),
		"just expired":                      sign(with(f.claims, "exp", now.Add(-clockSkew-time.Second).Unix())),
		"from the future":                   sign(claimsAt(now.Add(time.Hour))),
		"issued in the future":              sign(with(f.claims, "iat", now.Add(time.Hour).Unix())),
		"not before the future":             sign(with(f.claims, "nbf", now.Add(time.Hour).Unix())),
		"lives too long":                    sign(with(f.claims, "exp", now.Add(time.Hour).Unix())),
		"lives for ever":                    sign(with(f.claims, "exp", int64(1)<<53)),
		"no exp":                            sign(with(f.claims, "exp", nil)),
		"no iat":                            sign(with(f.claims, "iat", nil)),
		"exp is text":                       sign(with(f.claims, "exp", "9999999999")),
		"exp is null":                       sign(`{"iss":"gateway","sub":"user:a","aud":"riskprofiler","iat":1,"exp":null}`),
		"exp overflows":                     sign(`{"iss":"gateway","sub":"user:a","aud":"riskprofiler","iat":1,"exp":1e400}`),
		"no aud":                            sign(with(f.claims, "aud", nil)),
		"another aud":                       sign(with(f.claims, "aud", "riskprofiler.example.com")),
		"aud in other case":                 sign(with(f.claims, "aud", "RiskProfiler")),
		"no iss":                            sign(with(f.claims, "iss", nil)),
		"empty iss":                         sign(with(f.claims, "iss", "")),
		"iss in other case":                 sign(with(f.claims, "iss", "Gateway")),
		"no sub":                            sign(with(f.claims, "sub", nil)),
		"sub of a service with no name":     sign(with(f.claims, "sub", "service:")),
		"sub of a service with an odd name": sign(with(f.claims, "sub", "service:../x")),
		"roles are text":                    sign(with(f.claims, "roles", "admin")),
		"roles are numbers":                 sign(with(f.claims, "roles", []int{1})),
		"empty role":                        sign(with(f.claims, "roles", []string{""})),
		"too many roles":                    sign(with(f.claims, "roles", strings.Split(strings.Repeat("viewer ", 17)+"viewer", " "))),
		"tenant is a number":                sign(with(f.claims, "tenant", 1)),
		"tenant is too long":                sign(with(f.claims, "tenant", strings.Repeat("t", 200))),
		"tenant with a line end":            sign(with(f.claims, "tenant", "t1\nt2")),
		"claims are null":                   sign("null"),
		"claims are a list":                 sign("[]"),
		"claims are text":                   sign(`"x"`),
		"claims are empty":                  sign(""),
		"claims are cut":                    sign(`{"iss":"gateway"`),
		"claims have something behind":      sign(string(text(f.claims)) + "{}"),
		"claims are deep":                   sign(strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)),
	}
}

func (f *forger) shapes() map[string]string {
	good := forge(f.head, f.claims, f.gateway())
	parts := strings.Split(good, ".")
	swap := func(i int, part string) string {
		out := append([]string(nil), parts...)
		out[i] = part
		return strings.Join(out, ".")
	}
	other := b64(text(with(f.claims, "tenant", "t2")))
	flip := []byte(good)
	flip[len(flip)-10] ^= 1
	last := parts[2][len(parts[2])-1:]
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	twin := alphabet[strings.Index(alphabet, last)+1:][:1]
	return map[string]string{
		"empty": "", "dots": "..", "many dots": strings.Repeat(".", 8000), "one part": parts[0], "two parts": parts[0] + "." + parts[1],
		"four parts": good + "." + parts[2], "five parts, as encrypted": good + ".a.b", "other claims": swap(1, other), "no signature": swap(2, ""),
		"short signature": swap(2, parts[2][:80]), "long signature": good + "AAAA", "flipped bit": string(flip), "header twice": swap(1, parts[0]),
		"second spelling of the signature": swap(2, parts[2][:len(parts[2])-1]+twin),
		"padding":                          good + "==", "space in front": " " + good, "space behind": good + " ", "line end in the signature": swap(2, parts[2][:5]+"\n"+parts[2][5:]),
		"line end in the claims": swap(1, parts[1][:5]+"\n"+parts[1][5:]), "NUL behind": good + "\x00", "standard base64": swap(2, strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])+"+"),
		"Bearer": "Bearer " + good, "too large": forge(f.head, with(f.claims, "x", strings.Repeat("x", MaxTokenBytes)), f.gateway()),
		"JSON serialization": `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "API key": "rp_abcdefghijkl_" + strings.Repeat("A", 43),
		"header is null": forge("null", f.claims, f.gateway()), "header is a list": forge("[]", f.claims, f.gateway()), "header is text": forge("x", f.claims, f.gateway()),
		"not ASCII": "ü.ü.ü",
	}
}

// TestForgedTokens: none of them is accepted, none makes us fetch anything, and all are refused in
// the same words.
func TestForgedTokens(t *testing.T) {
	var fetches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetches.Add(1) }))
	defer server.Close()
	dir := t.TempDir()
	f := &forger{t: t, keys: writeRing(t, dir, "gateway", "scanner"), url: server.URL, claims: claimsAt(time.Now())}
	f.head = header(f.keys)
	_, own, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f.own = own
	// A public key outside of the ring, for a kid that is a path.
	outside := filepath.Join(filepath.Dir(dir), "outside.pub")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})
	if _, err := v.Verify(t.Context(), forge(f.head, f.claims, f.gateway())); err != nil {
		t.Fatalf("the token that is not forged: %v", err)
	}
	n := 0
	for _, table := range []map[string]string{f.algorithms(), f.keyTricks(), f.claimTricks(), f.shapes()} {
		for name, token := range table {
			n++
			p, err := v.Verify(t.Context(), token)
			if err == nil {
				t.Errorf("%s: accepted as %+v", name, p)
			} else if !errors.Is(err, fault.Unauthenticated) || err.Error() != errToken().Error() {
				t.Errorf("%s: refused with %v", name, err)
			}
		}
	}
	if n < 80 || fetches.Load() != 0 {
		t.Errorf("%d tokens, %d fetches", n, fetches.Load())
	}
	if v.verified.len() != 1 {
		t.Errorf("%d tokens are remembered, want the good one", v.verified.len())
	}
	t.Logf("%d forged tokens, 0 accepted", n)
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	keys := writeRing(f, dir, "gateway")
	v := NewVerifier(VerifierOptions{Keys: OpenKeyRing(dir)})
	f.Add(forge(header(keys), claimsAt(time.Now().Add(-time.Hour)), keys["gateway"]))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if p, err := v.Verify(t.Context(), token); err == nil {
			t.Fatalf("%q was accepted as %+v", token, p)
		}
	})
}
