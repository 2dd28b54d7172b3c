package http

import (
	"context"
	nethttp "net/http"
	"slices"
	"strings"
)

// maxMethods bounds HttpFact.methods.
const maxMethods = 20

// traced sends TRACE with a header that only an echo can contain.
func (s *site) traced(ctx context.Context, v *visit, found *findings) {
	secret := token()
	answer := s.get(ctx, found, ask{
		url: s.at(v, "/"), method: nethttp.MethodTrace, header: map[string]string{"X-Riskprofiler-Check": secret}, limit: 16 << 10,
	})
	if answer != nil && answer.status == nethttp.StatusOK && strings.Contains(string(answer.body), secret) {
		found.mu.Lock()
		found.trace = true
		found.mu.Unlock()
	}
}

// options asks what may be done with the page (RFC 9110 section 9.3.7). What a server says there it need not allow, but WebDAV is
// announced by those who speak it.
func (s *site) options(ctx context.Context, v *visit, found *findings) {
	answer := s.get(ctx, found, ask{url: s.at(v, "/"), method: nethttp.MethodOptions, limit: 1})
	if answer == nil || answer.status >= nethttp.StatusBadRequest {
		return
	}
	var methods []string
	for method := range strings.SplitSeq(strings.Join(answer.header.Values("Allow"), ","), ",") {
		method = strings.ToUpper(strings.TrimSpace(method))
		if method != "" && len(method) <= 20 && strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == "" && !slices.Contains(methods, method) && len(methods) < maxMethods {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	// "DAV: 1,2": compliance classes (RFC 4918 section 10.1). PROPFIND with it: a header alone may be a relic of a proxy.
	dav := strings.HasPrefix(strings.TrimSpace(answer.header.Get("Dav")), "1") && slices.Contains(methods, "PROPFIND")
	found.mu.Lock()
	defer found.mu.Unlock()
	found.methods, found.webdav = methods, dav
}
