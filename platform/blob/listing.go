package blob

import (
	"encoding/base64"
	"strings"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// CheckList is what every driver asks before it lists: the prefix, the page size that limit means, and the key behind which the page
// begins ("" for the first page). What is wrong is fault.Invalid.
func CheckList(prefix, pageToken string, limit int) (after string, size int, err error) {
	if err := CheckPrefix(prefix); err != nil {
		return "", 0, err
	}
	if size, err = PageLimit(limit); err != nil || pageToken == "" {
		return "", size, err
	}
	key, err := base64.RawURLEncoding.DecodeString(pageToken)
	if err != nil || CheckKey(string(key)) != nil || !strings.HasPrefix(string(key), prefix) {
		return "", 0, fault.New(fault.Invalid, "list blobs: the page token is not one of this listing")
	}
	return string(key), size, nil
}

// PageToken stands for the page behind the one that ends with key. It holds no driver's own token: those cannot be checked before they
// are sent.
func PageToken(key string) string { return base64.RawURLEncoding.EncodeToString([]byte(key)) }
