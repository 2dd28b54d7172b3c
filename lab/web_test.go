package lab

import (
	"bytes"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// client follows no redirect and takes every certificate.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, CipherSuites: weakest(tls.VersionTLS12).CipherSuites,
		},
		DisableKeepAlives: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// reply is an answer with its body read.
type reply struct {
	*http.Response
	body string
}

// get asks the server at address for a path.
func get(t *testing.T, method, scheme, address, path string, headers map[string]string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, scheme+"://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	got, err := client(t).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, req.URL, err)
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return reply{got, string(body)}
}

var versionPattern = regexp.MustCompile(`\d+\.\d+`)

// webFindings derives what holds on one web server from its answers.
func webFindings(t *testing.T, scheme, address string) []string {
	t.Helper()
	secure := scheme == "https"
	root := get(t, http.MethodGet, scheme, address, "/", map[string]string{"Origin": "https://foreign.test"})
	got := headerFindings(root, secure)
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	ok := root.StatusCode == http.StatusOK
	isHTML := strings.HasPrefix(root.Header.Get("Content-Type"), "text/html")
	add(!secure && (ok || root.StatusCode == http.StatusUnauthorized), "http-cleartext")
	add(!secure && strings.Contains(root.body, `type="password"`), "http-cleartext-login")
	add(!secure && strings.HasPrefix(root.Header.Get("WWW-Authenticate"), "Basic"), "http-basic-auth-cleartext")
	add(secure && strings.Contains(root.body, `action="http://`), "http-insecure-form")
	add(secure && strings.Contains(root.body, `src="http://`), "http-mixed-content")
	add(strings.Contains(root.body, "<title>phpMyAdmin</title>"), "http-admin-panel")
	add(strings.Contains(root.body, "<title>Welcome to nginx!</title>"), "http-default-page")
	add(strings.Contains(root.body, "<code>DEBUG = True</code>"), "http-debug-page")
	reflects := root.Header.Get("Access-Control-Allow-Origin") == "https://foreign.test"
	credentials := root.Header.Get("Access-Control-Allow-Credentials") == "true"
	add(reflects && credentials, "http-cors-any-origin-credentials")
	add(reflects && !credentials, "http-cors-reflects-origin")
	trace := get(t, http.MethodTrace, scheme, address, "/", map[string]string{"X-Lab-Probe": "echo"})
	add(strings.Contains(trace.body, "X-Lab-Probe: echo"), "http-trace-enabled")
	contact := get(t, http.MethodGet, scheme, address, "/.well-known/security.txt", nil)
	add(secure && ok && isHTML && !strings.HasPrefix(contact.body, "Contact:"), "http-security-txt-missing")
	return append(got, exposureFindings(t, scheme, address)...)
}

func headerFindings(root reply, secure bool) []string {
	var got []string
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	counts := root.StatusCode == http.StatusOK
	isHTML := counts && strings.HasPrefix(root.Header.Get("Content-Type"), "text/html")
	policy := root.Header.Get("Content-Security-Policy")
	hsts := root.Header.Get("Strict-Transport-Security")
	add(counts && secure && hsts == "", "http-hsts-missing")
	add(counts && secure && strings.HasPrefix(hsts, "max-age=3600"), "http-hsts-short")
	add(isHTML && policy == "", "http-csp-missing")
	add(strings.Contains(policy, "'unsafe-inline'"), "http-csp-unsafe")
	add(isHTML && root.Header.Get("X-Frame-Options") == "" && !strings.Contains(policy, "frame-ancestors"), "http-frame-options-missing")
	add(counts && root.Header.Get("X-Content-Type-Options") == "", "http-nosniff-missing")
	add(isHTML && root.Header.Get("Referrer-Policy") == "", "http-referrer-policy-missing")
	add(counts && versionPattern.MatchString(root.Header.Get("Server")+" "+root.Header.Get("X-Powered-By")), "http-version-disclosed")
	for _, c := range root.Cookies() {
		add(secure && !c.Secure, "http-cookie-not-secure")
		add(!c.HttpOnly, "http-cookie-not-httponly")
		add(c.SameSite == 0, "http-cookie-samesite-missing")
	}
	return got
}

// exposures are the paths that a server has all of or none, each with what proves it.
var exposures = []struct {
	check string
	paths map[string]string
}{
	{"http-git-exposed", map[string]string{"/.git/HEAD": "ref: refs/heads/", "/.git/config": "[core]"}},
	{"http-svn-exposed", map[string]string{"/.svn/entries": "12\n", "/.svn/wc.db": "SQLite format 3\x00"}},
	{"http-env-exposed", map[string]string{"/.env": "DB_PASSWORD="}},
	{"http-backup-exposed", map[string]string{"/backup.zip": "PK\x03\x04", "/backup.tar.gz": "\x1f\x8b", "/index.php.bak": "<?php"}},
	{"http-database-dump-exposed", map[string]string{"/backup.sql": "CREATE TABLE", "/dump.sql": "CREATE TABLE"}},
	{"http-private-key-exposed", map[string]string{"/server.key": "PRIVATE KEY-----", "/id_rsa": "PRIVATE KEY-----"}},
	{"http-credentials-exposed", map[string]string{"/.htpasswd": ":$apr1$", "/wp-config.php.bak": "DB_PASSWORD"}},
	{"http-credentials-exposed", map[string]string{"/.aws/credentials": "aws_secret_access_key"}},
	{"http-config-exposed", map[string]string{"/docker-compose.yml": "services:"}},
	{"http-ds-store-exposed", map[string]string{"/.DS_Store": "\x00\x00\x00\x01Bud1"}},
	{"http-phpinfo-exposed", map[string]string{"/phpinfo.php": "<title>phpinfo()</title>"}},
	{"http-server-status-exposed", map[string]string{"/server-status": "Apache Server Status for"}},
	{"http-actuator-exposed", map[string]string{"/actuator": `"_links"`, "/actuator/env": "propertySources"}},
	{"http-heap-dump-exposed", map[string]string{"/actuator": `"heapdump"`}},
	{"http-debug-vars-exposed", map[string]string{"/debug/vars": `"memstats"`}},
	{"http-api-docs-exposed", map[string]string{"/swagger.json": `"swagger":"2.0"`, "/graphql": "GraphQL Playground"}},
	{"http-directory-listing", map[string]string{"/": "<title>Index of /</title>"}},
}

func exposureFindings(t *testing.T, scheme, address string) []string {
	t.Helper()
	var got []string
	for _, e := range exposures {
		before := len(got)
		for path, proof := range e.paths {
			if reply := get(t, http.MethodGet, scheme, address, path, nil); reply.StatusCode == http.StatusOK && strings.Contains(reply.body, proof) {
				got = append(got, e.check)
			}
		}
		if n := len(got) - before; n != 0 && n != len(e.paths) {
			t.Errorf("%s: %d of %d paths for %s", address, n, len(e.paths), e.check)
		}
	}
	return got
}

func TestWebServersAreAsDeclared(t *testing.T) {
	l := startLab(t, Options{Hostile: true})
	// Bodies and headers that no ordinary client takes have their own tests.
	special := []int{100, 101, 102, 103, 105, 106, 107, numberSentinel}
	webPorts := []int{8000, 8080, 8081, 8443, 9443, 9200, 5984, 2375, 2379, 10250}
	seen := 0
	for _, h := range l.plan.hosts {
		for _, s := range h.servers {
			if slices.Contains(special, h.number) || h.number == 104 && s.port == 8081 || !slices.Contains(webPorts, s.port) {
				continue
			}
			seen++
			scheme := "http"
			if slices.Contains([]int{8443, 9443, 10250}, s.port) {
				scheme = "https"
			}
			found := map[string]bool{}
			for _, check := range webFindings(t, scheme, l.at(h.number, s.port)) {
				found[check] = true
			}
			got := slices.Sorted(maps.Keys(found))
			if want := declared(l, hostPort(owner(l, h), s.port)+"/tcp", "http-"); !slices.Equal(got, want) {
				t.Errorf("%s:%d (%s): the answers mean\n%q, the table says\n%q", owner(l, h), s.port, s.note, got, want)
			}
		}
	}
	if seen != 32 {
		t.Errorf("%d web servers, want 32", seen)
	}
}

func TestRedirectToTLS(t *testing.T) {
	l := startLab(t, Options{Clean: true})
	reply := get(t, http.MethodGet, "http", l.at(40, 8080), "/a?b=c", nil)
	if got := reply.Header.Get("Location"); reply.StatusCode != http.StatusMovedPermanently || got != "https://www.exemplary.test:8443/a?b=c" {
		t.Errorf("%d to %q", reply.StatusCode, got)
	}
}

func TestCatchAllsAnswerEverything(t *testing.T) {
	l := startLab(t, Options{})
	for _, path := range []string{"/", "/.git/HEAD", "/.env", "/nothing/at/all"} {
		if reply := get(t, http.MethodGet, "http", l.at(19, 8080), path, nil); reply.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", path, reply.StatusCode)
		}
		one, other := get(t, http.MethodGet, "http", l.at(19, 8081), path, nil), get(t, http.MethodGet, "http", l.at(19, 8081), path, nil)
		// The root is the same each time, so that two assessments of the lab see the same.
		if one.StatusCode != http.StatusOK || (one.body == other.body) != (path == "/") || !strings.Contains(one.body, path) {
			t.Errorf("%s: status %d, the same twice %v", path, one.StatusCode, one.body == other.body)
		}
	}
}

func TestMirrorRepeatsNothingHarmful(t *testing.T) {
	l := startLab(t, Options{})
	reply := get(t, http.MethodGet, "http", l.at(19, 8081), "/%3Cscript%3E"+strings.Repeat("a", 1000), nil)
	if strings.Contains(reply.body, "<script") || len(reply.body) > 1000 {
		t.Errorf("body %q", reply.body)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	l := startLab(t, Options{Clean: true})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.at(40, 8080)+"/", bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("a", 2*maxHeaderBytes))
	reply, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	if reply.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", reply.StatusCode)
	}
	if reply := get(t, http.MethodPost, "http", l.at(40, 8080), "/", nil); reply.StatusCode != http.StatusMovedPermanently {
		t.Errorf("POST: status %d", reply.StatusCode)
	}
}
