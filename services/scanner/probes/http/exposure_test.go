package http

import (
	"context"
	"io"
	nethttp "net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func permitCounter(t *testing.T, permits *atomic.Int32) func(context.Context, string, int) error {
	return func(_ context.Context, host string, cost int) error {
		if host != "127.0.0.1" || cost != 1 {
			t.Errorf("%d permits for %q", cost, host)
		}
		permits.Add(1)
		return nil
	}
}

// real files, shortened; the key of the map is the path they are served at.
var files = map[string]string{
	"/.git/HEAD":             "ref: refs/heads/main\n",
	"/.git/config":           "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
	"/.svn/wc.db":            "SQLite format 3\x00\x04\x00\x01\x01",
	"/.svn/entries":          "12\n",
	"/.env":                  "# app\nAPP_KEY=base64:c2VjcmV0\nDB_PASSWORD=\"hunter2\"\n\nexport MAIL_HOST=mail\n",
	"/.DS_Store":             "\x00\x00\x00\x01Bud1\x00\x00",
	"/.htpasswd":             "admin:$apr1$x$y\nbob:$2y$05$abcdefghijklmnopqrstuu\n",
	"/.aws/credentials":      "[default]\naws_access_key_id = AKIAXXXXXXXXEXAMPLE\naws_secret_access_key = abc\n",
	"/docker-compose.yml":    "version: '3'\nservices:\n  db:\n    image: postgres\n",
	"/wp-config.php.bak":     "<?php\ndefine('DB_NAME', 'wp');\ndefine('DB_PASSWORD', 'hunter2');\n",
	"/index.php~":            "<?php echo 1;\n",
	"/backup.zip":            "PK\x03\x04\x14\x00",
	"/backup.tar.gz":         "\x1f\x8b\x08\x00",
	"/dump.sql":              "-- MySQL dump 10.13\n--\nDROP TABLE IF EXISTS `users`;\n",
	"/id_rsa":                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n",
	"/phpinfo.php":           "<html><title>PHP 8.1 - phpinfo()</title><h1>PHP Version 8.1</h1>",
	"/server-status":         "<h1>Apache Server Status for site.test</h1>",
	"/nginx_status":          "Active connections: 2 \nserver accepts handled requests\n 7 7 9 \n",
	"/actuator":              `{"_links":{"self":{"href":"/actuator"},"health":{},"heapdump":{}}}`,
	"/actuator/env":          `{"activeProfiles":[],"propertySources":[]}`,
	"/debug/vars":            `{"cmdline": ["/app"], "memstats": {}}`,
	"/debug/pprof/":          "<html><head><title>/debug/pprof/</title></head>Types of profiles available:",
	"/swagger.json":          `{"swagger":"2.0","info":{}}`,
	"/swagger-ui/index.html": "<!DOCTYPE html><html><head><title>Swagger UI</title>",
	"/graphql":               "<!DOCTYPE html><html><head><title>GraphQL Playground</title>",
	"/uploads/":              "<html><head><title>Index of /uploads</title></head>",
	"/files/":                "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"a.txt\">a.txt</a>\n</pre>\n",
}

func TestExposuresAreFound(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if body, ok := files[r.URL.Path]; ok {
			_, _ = io.WriteString(w, body)
			return
		}
		nethttp.NotFound(w, r)
	})
	world := newLab()
	result := scan(t, New(Options{}), world.Env, jobFor(server.Listener.Addr().String(), "", false))
	got := exposuresOf(result)
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(got) != len(files) {
		t.Errorf("%v (%s): %d exposures of %d: %v", result.Outcome, result.Reason, len(got), len(files), got)
	}
	keys := make(map[string]bool)
	for _, o := range result.Observations {
		e := o.GetExposure()
		if keys[o.GetKey()] = true; e == nil {
			continue
		}
		if e.GetProof() == "" || e.GetStatus() != 200 || !strings.HasSuffix(e.GetUrl(), e.GetPath()) {
			t.Errorf("exposure %v", e)
		}
		for _, secret := range []string{"hunter2", "c2VjcmV0", "$apr1$", "b3BlbnNzaA", "AKIA"} {
			if strings.Contains(e.GetProof()+o.GetEvidence().GetExcerpt(), secret) {
				t.Errorf("%s repeats the secret %q", e.GetPath(), secret)
			}
		}
		if blob := world.Blobs.(*memory).blobs[o.GetEvidence().GetBlob()]; !strings.HasSuffix(string(blob), files[e.GetPath()]) {
			t.Errorf("%s: the evidence is not the file", e.GetPath())
		}
	}
	if len(keys) != len(result.Observations) {
		t.Errorf("%d keys for %d observations", len(keys), len(result.Observations))
	}
}

// An application that gives the same file for every path exposes none of them.
func TestCatchAllIsNoExposure(t *testing.T) {
	for path, body := range files {
		t.Run(path, func(t *testing.T) {
			server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				if r.URL.Path == "/" {
					return
				}
				w.Header().Set("Content-Type", "application/octet-stream")
				_, _ = io.WriteString(w, body)
			})
			if _, got := factsOf(t, jobFor(server.Listener.Addr().String(), "", false)); len(got) != 0 {
				t.Errorf("exposures %v of a catch-all answer", got)
			}
		})
	}
}

// A page that talks about all of it is not it.
func TestPagesAreNoFiles(t *testing.T) {
	page := "<!DOCTYPE html><html><head><title>How to hide .git</title></head><body><pre>\nref: refs/heads/main\n[default]\nservices:\n  image: x\nDB=1\n" +
		"DB2=2\naws_access_key_id aws_secret_access_key -- MySQL dump\nCREATE TABLE x\n-----BEGIN PRIVATE KEY-----\nadmin:$apr1$x$y\n12\nSQLite format 3\x00 PK\x03\x04 Bud1\n" +
		`{"swagger":"2.0","_links":{"env":{}}}` + "</pre></body></html>"
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if strings.HasSuffix(controlOf(r.URL.Path), "x") || slices.ContainsFunc(commonPaths(), func(p path) bool { return p.path == r.URL.Path }) {
			_, _ = io.WriteString(w, page)
			return
		}
		nethttp.NotFound(w, r)
	})
	if _, got := factsOf(t, jobFor(server.Listener.Addr().String(), "", false)); len(got) != 0 {
		t.Errorf("exposures %v of a page that only talks about them", got)
	}
}

func TestProofs(t *testing.T) {
	tests := []struct {
		name  string
		proof func(string) string
		body  string
		want  bool
	}{
		{"detached head", gitHead, strings.Repeat("a1", 20) + "\n", true},
		{"sha-256 head", gitHead, strings.Repeat("a1", 32), true},
		{"head with more", gitHead, "ref: refs/heads/main\nand more", false},
		{"text of 40 letters", gitHead, strings.Repeat("z", 40), false},
		{"old svn", svnEntries, "10\n\ndir\n1\nhttp://svn.test/trunk\n", true},
		{"a number alone", svnEntries, "12", false},
		{"another number", svnEntries, "42\n", false},
		{"one variable is a coincidence", environment, "A=1\n", false},
		{"prose first", environment, "Hello\nA=1\nB=2\nC=3\n", false},
		{"value of several lines", environment, "A=1\nB=2\nKEY=\"-----BEGIN\nabc\n-----END\"\n", true},
		{"json", environment, "{\n\"a\": 1\n}", false},
		{"javascript", environment, "var a = 1;\nfunction b() {}\n", false},
		{"harmless actuator", actuatorIndex, `{"_links":{"self":{},"health":{},"health-path":{},"info":{}}}`, false},
		{"some other endpoint", actuatorIndex, `{"_links":{"self":{},"custom":{}}}`, true},
		{"other hal document", actuatorIndex, `{"_links":{}}`, false},
		{"openapi 3", apiDocument, "{\n  \"openapi\": \"3.0.1\", ...", true},
		{"page about openapi", apiDocument, `<p>"openapi": "3.0.1"`, false},
		{"des crypt", passwordFile, "user:ab1234567890.\n", true},
		{"plain password", passwordFile, "user:password\n", false},
		{"time of day", passwordFile, "at 12:30\n", false},
		{"empty", passwordFile, "\n", false},
		{"tar", archive, strings.Repeat("\x00", 257) + "ustar\x00", true},
		{"python's server", directoryListing, "<title>Directory listing for /files/</title>", true},
		{"iis", directoryListing, `<A HREF="/">[To Parent Directory]</A>`, true},
		{"encrypted key", privateKey, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", true},
		{"public key", privateKey, "-----BEGIN PUBLIC KEY-----\n", false},
		{"certificate", privateKey, "-----BEGIN CERTIFICATE-----\n", false},
	}
	for _, test := range tests {
		if got := test.proof(test.body); (got != "") != test.want {
			t.Errorf("%s: %q, want proof %t", test.name, got, test.want)
		}
	}
}

func TestControlPaths(t *testing.T) {
	for exposed, want := range map[string]string{
		"/.git/HEAD": "/.git/T", "/.env": "/.T", "/.env.local": "/.T.local", "/backup.zip": "/T.zip", "/backup.tar.gz": "/T.gz", "/uploads/": "/T/",
		"/index.php~": "/T.php~", "/debug/pprof/": "/debug/T/", "/graphql": "/T",
	} {
		got := controlOf(exposed)
		if len(got) != len(want)-1+24 || !strings.HasPrefix(got, strings.Split(want, "T")[0]) || !strings.HasSuffix(got, strings.Split(want, "T")[1]) {
			t.Errorf("control of %s is %s, want %s", exposed, got, want)
		}
	}
}
