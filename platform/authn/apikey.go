package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// The form of an API key: rp_<12 of a-z0-9>_<43 of base64url>. The fixed start and the first part
// let a scanner for leaked secrets find a key and its owner revoke it by its prefix.
const (
	keyStart      = "rp_"
	keyIDLen      = 12
	keySecretLen  = 43 // 32 bytes in unpadded base64url
	keyTextLen    = len(keyStart) + keyIDLen + 1 + keySecretLen
	keyIDAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// Key is a new API key. Print it once with [Key.Text] and store ID and Hash.
//
// The hash is plain SHA-256 and not one of the slow password hashes: those make up for secrets
// that a person chose and an attacker can guess. This one is 256 random bits; guessing it is hopeless
// at any speed, and a slow hash would only let strangers burn our time with wrong keys.
type Key struct {
	// ID is the public part, by which the key is looked up, listed and revoked.
	ID string
	// Secret is the part that proves. It is never stored, logged or shown again.
	Secret string
	// Hash is SHA-256 of Secret.
	Hash [sha256.Size]byte
}

// NewKey makes a key from the system's randomness.
func NewKey() (Key, error) {
	id, err := randomID(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	var secret [32]byte
	if _, err := io.ReadFull(rand.Reader, secret[:]); err != nil {
		return Key{}, fault.Wrap(fault.Internal, err, "make API key")
	}
	k := Key{ID: id, Secret: base64.RawURLEncoding.EncodeToString(secret[:])}
	k.Hash = HashSecret(k.Secret)
	return k, nil
}

// randomID draws from the alphabet without bias: bytes beyond a multiple of its length are thrown
// away.
func randomID(random io.Reader) (string, error) {
	const fair = 256 - 256%len(keyIDAlphabet)
	id := make([]byte, 0, keyIDLen)
	var b [2 * keyIDLen]byte
	for len(id) < keyIDLen {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fault.Wrap(fault.Internal, err, "make API key")
		}
		for _, c := range b {
			if int(c) < fair && len(id) < keyIDLen {
				id = append(id, keyIDAlphabet[int(c)%len(keyIDAlphabet)])
			}
		}
	}
	return string(id), nil
}

// Text is the whole key as its owner gets it.
func (k Key) Text() string { return keyStart + k.ID + "_" + k.Secret }

// String leaves the secret out, so that a key that is printed by mistake tells nothing.
func (k Key) String() string { return keyStart + k.ID + "_***" }

// GoString leaves the secret out.
func (k Key) GoString() string { return k.String() }

// Format leaves the secret out, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue leaves the secret out.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON leaves the secret out.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// ParseKey takes a key apart. It accepts exactly one spelling of each key. Its error, Unauthenticated,
// says nothing about the text.
func ParseKey(text string) (id, secret string, err error) {
	if len(text) != keyTextLen || text[:len(keyStart)] != keyStart || text[len(keyStart)+keyIDLen] != '_' {
		return "", "", errKey()
	}
	id, secret = text[len(keyStart):len(keyStart)+keyIDLen], text[len(keyStart)+keyIDLen+1:]
	for i := range len(id) {
		if !strings.Contains(keyIDAlphabet, id[i:i+1]) {
			return "", "", errKey()
		}
	}
	// Strict: of the 43rd character four bits count, and the other two must be zero. DecodeString
	// skips line ends, hence the length.
	if b, err := base64.RawURLEncoding.Strict().DecodeString(secret); err != nil || len(b) != 32 {
		return "", "", errKey()
	}
	return id, secret, nil
}

func errKey() error { return fault.New(fault.Unauthenticated, "invalid API key") }

// HashSecret is what is stored of a key.
func HashSecret(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// VerifySecret reports whether secret is the one that was hashed, in a time that does not depend
// on how much of it is right. For an unknown key compare with a zero hash all the same.
func VerifySecret(hash [sha256.Size]byte, secret string) bool {
	got := HashSecret(secret)
	return subtle.ConstantTimeCompare(hash[:], got[:]) == 1
}
