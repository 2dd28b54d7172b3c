// Package assetid derives the name of an asset from what it is, so that every service names the same asset alike without
// asking. It knows nothing about tenants: a name is only unique inside one tenant's partition.
package assetid

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
)

// idLength is 20 base32 characters, 100 bits: a collision inside one tenant needs about 2^50 assets.
const idLength = 20

// Name returns the resource name "assets/{id}" of the asset of the given kind (the number of its enum value) and canonical
// value (lower-case A-label, RFC 5952 address, CIDR, or URL).
func Name(kind int32, canonical string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(int(kind)) + ":" + canonical))
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	return "assets/" + strings.ToLower(text[:idLength])
}
