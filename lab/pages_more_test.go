package lab

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMoreWebServersAreAsDeclared derives from the answers what the table says of the servers in hosts_web_more.go.
func TestMoreWebServersAreAsDeclared(t *testing.T) {
	l := startLab(t, Options{})
	paths := []struct{ check, path, proof string }{
		{"http-cms-login", "/wp-login.php", "wp-submit"}, {"http-users-listed", "/wp-json/wp/v2/users", `"slug":"admin"`}, {"http-log-exposed", "/wp-content/debug.log", "PHP Warning"},
		{"http-console-open", "/script", "Script Console"}, {"http-console-open", "/overview", "flink-version"}, {"http-monitoring-open", "/api/v1/status/buildinfo", "goVersion"},
		{"http-metrics-exposed", "/metrics", "# TYPE"}, {"http-repository-open", "/v2/_catalog", "acme/shop"}, {"http-profiler-exposed", "/elmah.axd", "Error log for"},
		{"http-installer-open", "/wp-admin/install.php", "weblog_title"}, {"http-device-panel", "/", "<title>FortiGate</title>"}, {"http-remote-portal", "/remote/login", "fgt_lang"},
	}
	for _, h := range moreWebHosts() {
		for _, s := range h.servers {
			scheme, at := "http", l.at(h.number, s.port)
			if s.port == portMoreWebTLS {
				scheme = "https"
			}
			got := webFindings(t, scheme, at)
			for _, p := range paths {
				if reply := get(t, http.MethodGet, scheme, at, p.path, nil); reply.StatusCode == http.StatusOK && strings.Contains(reply.body, p.proof) {
					got = append(got, p.check)
				}
			}
			got = append(got, wrongProtections(t, scheme, at)...)
			slices.Sort(got)
			got = slices.Compact(got)
			if want := declared(l, hostPort(h.name, s.port)+"/tcp", "http-"); !slices.Equal(got, want) {
				t.Errorf("%s (%s): the answers mean\n%q, the table says\n%q", h.name, s.note, got, want)
			}
		}
	}
}

func wrongProtections(t *testing.T, scheme, at string) []string {
	t.Helper()
	root := get(t, http.MethodGet, scheme, at, "/", map[string]string{"Origin": "null"})
	var got []string
	add := func(holds bool, check string) {
		if holds {
			got = append(got, check)
		}
	}
	add(root.Header.Get("Access-Control-Allow-Origin") == "null" && root.Header.Get("Access-Control-Allow-Credentials") == "true", "http-cors-weak-origin-check")
	add(strings.Contains(root.body, `<form method="get"`) && strings.Contains(root.body, `type="password"`), "http-password-in-url")
	add(strings.Contains(root.body, `<img src='http://`) && scheme == "https", "http-mixed-content-passive")
	add(strings.Contains(root.body, `<script src="https://`) && !strings.Contains(root.body, "integrity="), "http-sri-missing")
	add(strings.Contains(root.Header.Get("Content-Security-Policy"), "'unsafe-eval'"), "http-protection-ineffective")
	for _, c := range root.Cookies() {
		add(strings.HasPrefix(c.Name, "__Host-") && c.Path != "/", "http-cookie-rejected")
		add(c.Name == "sid" && c.Domain == "acme.test", "http-cookie-broad-domain")
		add(c.Name == "sid" && strings.HasPrefix(root.Header.Get("Cache-Control"), "public"), "http-session-cacheable")
	}
	options := get(t, http.MethodOptions, scheme, at, "/", nil)
	add(options.Header.Get("Dav") != "", "http-webdav-enabled")
	file := get(t, http.MethodGet, scheme, at, "/.well-known/security.txt", nil)
	if _, after, ok := strings.Cut(file.body, "Expires: "); ok {
		expires, err := time.Parse(time.RFC3339, strings.TrimSpace(after))
		add(err != nil || expires.Before(time.Now()), "http-security-txt-invalid")
	}
	return got
}
