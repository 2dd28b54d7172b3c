// Package names reads names as AWS writes them. It is apart from the SDK, so that its fuzzer builds fast.
package names

import (
	"strconv"
	"strings"
)

// Domain is a name as Route 53 writes it, lower-case, without the final dot and with its escapes read
// (docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html: three octal digits after a backslash).
func Domain(name string) string {
	name = strings.TrimSuffix(name, ".")
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '\\' && i+3 < len(name) {
			if n, err := strconv.ParseUint(name[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(name[i])
	}
	return strings.ToLower(out.String())
}
