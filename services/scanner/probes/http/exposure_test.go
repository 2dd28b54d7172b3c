package http

import (
	"context"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
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

// secrets stand in the samples and must stand in no proof, no excerpt and no evidence.
var secrets = []string{"hunter2", "c2VjcmV0", "apr1$x", "b3BlbnNzaA", "AKIAXXX", "S3CRET", "0123456789abcdef0123456789abcdef"}

// proofSamples are real files, shortened, one for each function that data/exposures.json names.
var proofSamples = map[string]string{
	"git-head": "ref: refs/heads/main\n", "git-config": "[core]\n\trepositoryformatversion = 0\n[remote \"o\"]\n\turl = https://u:hunter2@git.test/x\n",
	"git-log": strings.Repeat("0", 40) + " " + strings.Repeat("a", 40) + " A <a@b.test> 1700000000 +0000\tcommit: hunter2\n",
	"sqlite":  "SQLite format 3\x00\x04\x00\x01\x01 hunter2", "svn-entries": "12\n", "hg-requires": "dotencode\nfncache\ngeneraldelta\nrevlogv1\nstore\n",
	"bzr-format":    "Bazaar-NG meta directory, format 1\n",
	"environment":   "# app\nAPP_KEY=base64:c2VjcmV0\nDB_PASSWORD=\"hunter2\"\n\nexport MAIL_HOST=hunter2\n",
	"password-file": "admin:$apr1$x$y\nbob:$2y$05$abcdefghijklmnopqrstuu\n", "aws-credentials": "[default]\naws_access_key_id = AKIAXXXXXXXXEXAMPLE\naws_secret_access_key = S3CRET\n",
	"url-credentials": "https://bob:hunter2@github.com\n", "npm-token": "//registry.npmjs.org/:_authToken=npm_S3CRET\n", "pypi-password": "[pypi]\nusername = __token__\npassword = pypi-S3CRET\n",
	"netrc": "machine api.test login bob password hunter2\n", "docker-auths": `{"auths":{"https://index.docker.io/v1/":{"auth":"S3CRET"}}}`,
	"kubeconfig":      "apiVersion: v1\nclusters:\n- cluster:\n    server: https://k.test\nusers:\n- user:\n    token: S3CRET\ncurrent-context: a\n",
	"terraform-state": `{"version":4,"terraform_version":"1.9.0","resources":[{"password":"hunter2"}]}`, "sftp-config": `{"host":"a.test","username":"bob","password":"hunter2"}`,
	"rails-key": "0123456789abcdef0123456789abcdef", "s3-config": "[default]\naccess_key = AKIAXXXXXXXXEXAMPLE\nsecret_key = S3CRET\n",
	"service-account": `{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nS3CRET","client_email":"a@b.test"}`, "composer-auth": `{"http-basic":{"a.test":{"password":"hunter2"}}}`,
	"pgpass": "db.test:5432:app:bob:hunter2\n", "my-cnf": "[client]\nuser=root\npassword=hunter2\n", "filezilla": "<?xml version=\"1.0\"?>\n<FileZilla3><Servers><Server><Pass>hunter2</Pass></Server></Servers></FileZilla3>",
	"wordpress-config": "<?php\ndefine('DB_NAME', 'wp');\ndefine('DB_PASSWORD', 'hunter2');\n", "joomla-config": "<?php\nclass JConfig {\n\tpublic $password = 'hunter2';\n}\n",
	"drupal-config": "<?php\n$databases['default'] = array(\n  'password' => 'hunter2',\n);\n", "private-key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\nb3BlbnNzaAA=\n-----END OPENSSH PRIVATE KEY-----\n",
	"php-source": "<?php\n$p = 'hunter2';\n", "archive": "PK\x03\x04\x14\x00\x00\x00 nothing yet, and then hunter2", "sql-dump": "-- MySQL dump 10.13\n--\nDROP TABLE IF EXISTS `users`;\nINSERT INTO `users` VALUES (1,'hunter2');\n",
	"redis-dump": "REDIS0011\xfa\x09redis-ver\x057.0.0 hunter2", "compose": "version: '3'\nservices:\n  db:\n    image: postgres\n    environment:\n      - POSTGRES_PASSWORD=hunter2\n",
	"dotnet-config":   "<?xml version=\"1.0\"?>\n<configuration><connectionStrings><add connectionString=\"pwd=hunter2\"/></connectionStrings><system.web></system.web></configuration>",
	"dotnet-settings": `{"ConnectionStrings":{"Default":"Server=a;Password=hunter2"}}`, "spring-settings": "spring.datasource.password=hunter2\nserver.port=8080\n",
	"rails-database": "production:\n  adapter: postgresql\n  database: app\n  password: hunter2\n", "java-webapp": "<?xml version=\"1.0\"?>\n<web-app><servlet></servlet></web-app>",
	"gitlab-ci": "stages:\n  - build\nbuild:\n  stage: build\n  script:\n    - make TOKEN=S3CRET\n", "travis": "language: go\nscript: make\n", "jenkinsfile": "pipeline {\n  agent any\n  stages {\n  }\n}\n",
	"circleci": "version: 2.1\njobs:\n  build:\n    steps:\n      - checkout\n", "dockerfile": "FROM debian:12\nRUN echo hunter2\n", "shell-history": "cd /srv\nls -l\nsudo mysql -phunter2\nvim x\n",
	"mysql-history": "_HiStOrY_V2_\nset\\040password='hunter2';\n", "finder": "\x00\x00\x00\x01Bud1\x00\x00", "intellij": "<?xml version=\"1.0\"?>\n<project version=\"4\"><component name=\"x\"/></project>",
	"eclipse": "<?xml version=\"1.0\"?>\n<projectDescription><name>x</name></projectDescription>", "composer-installed": `{"packages":[{"name":"a/b","version_normalized":"1.0.0.0"}]}`,
	"npm-lock": `{"name":"x","lockfileVersion":3,"packages":{}}`, "log": "[05-Nov-2026 10:00:00 UTC] PHP Warning:  hunter2 in /srv/x.php on line 3\n",
	"phpinfo": "<html><title>PHP 8.1 - phpinfo()</title><h1>PHP Version 8.1</h1> <td>DB_PASSWORD</td><td>hunter2</td>", "apache-status": "<h1>Apache Server Status for site.test</h1> GET /?token=hunter2",
	"nginx-status": "Active connections: 2 \nserver accepts handled requests\n 7 7 9 \n", "apache-info": "Apache Server Information\nServer Settings\n",
	"fpm-status": "pool:                 www\nprocess manager:      dynamic\n", "actuator-index": `{"_links":{"self":{"href":"/actuator"},"health":{},"env":{}}}`,
	"actuator-heap-dump": `{"_links":{"self":{},"heapdump":{}}}`, "actuator-env": `{"activeProfiles":[],"propertySources":[{"password":"hunter2"}]}`,
	"actuator-config": `{"contexts":{"a":{"beans":{}}}}`, "expvars": `{"cmdline": ["/app","-password=hunter2"], "memstats": {}}`, "pprof": "<html><head><title>/debug/pprof/</title></head>Types of profiles available:",
	"prometheus-metrics": "# HELP up x\n# TYPE up gauge\nup 1\n", "api-document": `{"swagger":"2.0","info":{}}`, "api-page": "<!DOCTYPE html><html><head><title>Swagger UI</title>",
	"graphql-page": "<!DOCTYPE html><html><head><title>GraphQL Playground</title>", "listing": "<html><head><title>Index of /x</title></head>",
}

// productSamples are answers of products, one for each entry without a function, by path and kind.
var productSamples = map[string]string{
	"/haproxy?stats server-status": "<html><head><title>Statistics Report for HAProxy</title></head>", "/rails/info/properties debug-vars": "<h2>Rails version</h2><td>7.1</td> Ruby version Rack version",
	"/_profiler/empty/search/results?limit=1 profiler": "<html><head><title>Symfony Profiler</title>", "/telescope/requests profiler": "<html><title>Telescope - x</title><script>window.Telescope = {}</script>",
	"/_debugbar/open?max=1&offset=0 profiler": `[{"datetime":"2026-01-01","utime":1,"uri":"/"}]`, "/elmah.axd profiler": "<html><head><title>Error log for /x on W</title>",
	"/trace.axd profiler": "<html><h1>Application Trace</h1><h2>Requests to this Application</h2>", "/graphql?query=%7B__schema%7BqueryType%7Bname%7D%7D%7D graphql-introspection": `{"data": {"__schema": {"queryType": {"name": "Query"}}}}`,
	"/script open-console": "<html><head><title>Jenkins</title></head><h1>Script Console</h1>Type in an arbitrary Groovy script", "/overview open-console": `{"taskmanagers":1,"slots-total":1,"flink-version":"1.18.0"}`,
	"/ws/v1/cluster/info open-console": `{"clusterInfo":{"id":1,"hadoopVersion":"3.3.6"}}`, "/json/ open-console": `{ "url" : "spark://a:7077", "workers" : [ ] }`,
	"/v1/agent/self open-console": `{"Config":{"Version":"1.17"},"DebugConfig":{},"Member":{}}`, "/api/contents open-console": `{"name": "", "type": "directory", "content": [], "last_modified": "2026"}`,
	"/api/v1/dags open-console": `{"dags": [], "total_entries": 0}`, "/solr/admin/info/system?wt=json open-console": `{"lucene":{"solr-spec-version":"9.1"}}`, "/settings open-console": `{"httpNodeRoot":"/","version":"3"}`,
	"/status open-console": `{"version":"30","modules":[{"name":"org.apache.druid.x"}]}`, "/api/status open-console": `{"name":"k","uuid":"x","version":{"build_hash":"y"},"status":{"overall":{}}}`,
	"/app/kibana open-console": "<html><kbn-injected-metadata data='{}'>", "/api/v1/namespaces open-console": `{"kind":"NamespaceList","items":[]}`, "/console open-console": "<html><title>Console // Werkzeug Debugger</title><h1>Interactive Console</h1>",
	"/_ignition/health-check open-console": `{"can_execute_commands":true}`, "/jolokia/version open-console": `{"request":{"type":"version"},"value":{"agent":"1.7"}}`, "/jmx-console/ open-console": "<html><title>JBoss JMX Management Console</title>",
	"/invoker/JMXInvokerServlet open-console": "\xac\xed\x00\x05sr", "/phpmyadmin/ open-console": "<html><title>phpMyAdmin</title><div id='pma_navigation'>", "/api/v1/status/buildinfo open-monitoring": `{"status":"success","data":{"goVersion":"go1.22"}}`,
	"/api/v2/status open-monitoring": `{"config":{"original":"x"},"versionInfo":{}}`, "/api/overview open-monitoring": `{"http":{"routers":{},"middlewares":{}},"features":{}}`, "/api/org open-monitoring": `{"id":1,"name":"Main Org.","address":{}}`,
	"/api/v1/info open-monitoring": `{"version":"v1","mirrored_hosts":["a"]}`, "/api/v1.3/machine open-monitoring": `{"num_cores":8,"machine_id":"x"}`, "/v2/_catalog open-repository": `{"repositories":["acme/web"]}`,
	"/service/rest/v1/repositories open-repository": `[{"name":"m","format":"maven2","type":"hosted","url":"https://n.test/repository/m"}]`, "/artifactory/api/repositories open-repository": `[{"key":"a","type":"LOCAL","url":"https://a.test/artifactory/a"}]`,
	"/api/components/search?qualifiers=TRK open-repository": `{"paging":{},"components":[{"key":"x","qualifier":"TRK"}]}`, "/wp-json/wp/v2/users user-list": `[{"id":1,"slug":"admin","avatar_urls":{}}]`,
	"/wp-admin/install.php installer": "<html><title>WordPress &rsaquo; Installation</title><input name='weblog_title'><input name='user_name'>", "/wp-admin/setup-config.php installer": "<html><title>WordPress</title><a href='setup-config.php?step=1'>",
	"/core/install.php installer": "<html><title>Choose language | Drupal</title><form class='install-select-language-form'>", "/installation/index.php installer": "<html><title>Joomla! Web Installer</title><input id='jform_site_name'>",
	"/api/users/admin/check installer": `{"message":"No administrator account found inside the database"}`, "/v1/sys/seal-status installer": `{"type":"shamir","initialized":false,"sealed":true}`,
	"/phpmyadmin/setup/ installer": "<html><title>phpMyAdmin setup</title>", "/api/session/properties installer": `{"has-user-setup":false}`,
}

// nomad shares its place with Consul.
const nomad = `{"config":{},"member":{},"stats":{"nomad":{}}}`

// sampleOf is an answer that shows what the trait looks for, and its type.
func sampleOf(t trait) (body, kind string) {
	if body = proofSamples[t.Proof]; t.Proof == "" {
		body = productSamples[t.Path+" "+t.Kind]
	}
	if t.Product == "HashiCorp Nomad" {
		body = nomad
	}
	switch {
	case t.Form == "html" || strings.HasPrefix(strings.ToLower(body), "<html") || strings.HasPrefix(strings.ToLower(body), "<!doctype html"):
		kind = "text/html"
	case t.Form == "json":
		kind = "application/json"
	default:
		kind = "text/plain"
	}
	return body, kind
}

// one serves body at a path alone, or everywhere, and asks for one place.
func expose(t *testing.T, p place, everywhere bool, status int, body, kind string) []exposed {
	t.Helper()
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if !everywhere && r.URL.RequestURI() != p.path {
			nethttp.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	env := newLab().Env
	s, err := newSite(env, jobFor(server.Listener.Addr().String(), "", false), New(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	found := &findings{}
	at, _ := url.Parse(server.URL + "/")
	s.expose(t.Context(), &visit{start: &reply{url: at}, own: &reply{url: at}}, p, found)
	return found.sorted()
}

// Every entry of the data finds its sample, not the same answer everywhere, and repeats no secret of it anywhere.
func TestEveryExposure(t *testing.T) {
	if len(placesOf()) < 200 {
		t.Fatalf("%d places", len(placesOf()))
	}
	for _, p := range placesOf() {
		for _, one := range p.traits {
			if one.Kind == "page" {
				continue
			}
			body, kind := sampleOf(one)
			status := nethttp.StatusOK
			if len(one.Status) > 0 {
				status = one.Status[0]
			}
			found := expose(t, place{path: strings.ReplaceAll(p.path, "{host}", "a.test"), traits: p.traits}, false, status, body, kind)
			at := slices.IndexFunc(found, func(e exposed) bool { return e.fact.GetKind() == one.Kind && e.fact.GetProduct() == one.Product })
			if at < 0 {
				t.Errorf("%s %s: nothing found in its own sample (%v)", one.Path, one.Kind, found)
				continue
			}
			fact := found[at].fact
			kept := string(found[at].answer.raw(masked(fact.GetKind(), found[at].answer.body)))
			for _, secret := range secrets {
				if strings.Contains(fact.GetProof()+kept, secret) {
					t.Errorf("%s repeats the secret %q:\n%s\n%s", one.Path, secret, fact.GetProof(), kept)
				}
			}
			if fact.GetProof() == "" || fact.GetStatus() != uint32(status) || strings.ContainsAny(fact.GetProof(), "\x00\n") {
				t.Errorf("exposure %v", fact)
			}
			if everywhere := expose(t, p, true, status, body, kind); len(everywhere) != 0 {
				t.Errorf("%s: %v of a catch-all answer", one.Path, everywhere[0].fact)
			}
		}
	}
}

// A page that talks about all of it is not it.
func TestPagesAreNoFiles(t *testing.T) {
	var text strings.Builder
	text.WriteString("<!DOCTYPE html><html><head><title>How to hide .git</title></head><body><pre>\n")
	for _, sample := range proofSamples {
		if !strings.HasPrefix(sample, "<") {
			text.WriteString(sample + "\n")
		}
	}
	answer := &reply{status: 200, header: nethttp.Header{"Content-Type": {"text/html"}}, body: []byte(text.String() + "</pre></body></html>")}
	for _, p := range placesOf() {
		for _, one := range p.traits {
			// These are pages themselves, with these words on them.
			if slices.Contains([]string{"graphql-playground", "server-status", "phpinfo", "debug-vars"}, one.Kind) {
				continue
			}
			if got := one.shows(answer); got.proof != "" {
				t.Errorf("%s: %v in a page that only talks about it", one.Path, got)
			}
		}
	}
}

// The whole way: what is found ends as an observation of its own, with evidence that keeps no secret, and as a name in the lead.
func TestExposuresAreFound(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch r.URL.Path {
		case "/.env":
			_, _ = io.WriteString(w, proofSamples["environment"])
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<title>Shop</title><script src="/static/js/a.js"></script><img src="/static/img/b.png"><img src="/static/img/c.png">`)
		case "/static/img/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<title>Index of /static/img/</title>")
		case "/jenkins/login", "/login":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<title>Sign in [Jenkins]</title>")
		case "/grafana/login":
			nethttp.Redirect(w, r, "/grafana/in", nethttp.StatusFound)
		case "/grafana/in":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<title>Grafana</title>")
		case "/manager/html":
			w.Header().Set("WWW-Authenticate", `Basic realm="Tomcat Manager Application"`)
			w.WriteHeader(nethttp.StatusUnauthorized)
		default:
			nethttp.NotFound(w, r)
		}
	})
	world := newLab()
	result := scan(t, New(Options{}), world.Env, jobFor(server.Listener.Addr().String(), "", false))
	want := []string{"env /.env", "panel /grafana/login", "panel /jenkins/login", "panel /manager/html", "directory-listing /static/img/"}
	if got := exposuresOf(result); result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || !slices.Equal(got, want) {
		t.Errorf("%v (%s): %q, want %q", result.Outcome, result.Reason, got, want)
	}
	for _, o := range result.Observations {
		blob := string(world.Blobs.(*memory).blobs[o.GetEvidence().GetBlob()])
		if strings.Contains(o.String()+blob, "hunter2") || o.GetExposure().GetKind() == "env" && !strings.Contains(blob, "DB_PASSWORD=***") {
			t.Errorf("evidence of %s:\n%s", o.GetKey(), blob)
		}
	}
	lead := result.Leads[0]
	if !slices.Equal(lead.GetScanTypes(), []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_VULN}) || !slices.IsSorted(lead.GetTarget().GetTechnologies()) ||
		!slices.Contains(lead.GetTarget().GetTechnologies(), "jenkins") || !slices.Contains(lead.GetTarget().GetTechnologies(), "tomcat manager") {
		t.Errorf("lead %v", lead)
	}
}

// A product that leads every path to its login is one panel, and its login is found at its root.
func TestLoginEverywhere(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path != "/login" {
			nethttp.Redirect(w, r, "/login", nethttp.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>Grafana</title>")
	})
	fact, got := factsOf(t, jobFor(server.Listener.Addr().String(), "", false))
	if !slices.Equal(got, []string{"panel /login"}) || fact.GetPanel() != "Grafana" {
		t.Errorf("%q, panel %q", got, fact.GetPanel())
	}
}

// A page that repeats the path it is asked for is no product whose pages name that path.
func TestMirrorIsNoProduct(t *testing.T) {
	server := serve(t, false, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<h1>Did you mean "+r.URL.Path+"?</h1>")
	})
	job := jobFor(server.Listener.Addr().String(), "", false)
	job.Options.Profile = modelv1.Profile_PROFILE_DEEP
	if fact, got := factsOf(t, job); len(got) != 0 || fact.GetPanel() != "" {
		t.Errorf("%q, panel %q", got, fact.GetPanel())
	}
}

func TestProofs(t *testing.T) {
	tests := []struct {
		name, proof, body string
		want              bool
	}{
		{"detached head", "git-head", strings.Repeat("a1", 20) + "\n", true},
		{"sha-256 head", "git-head", strings.Repeat("a1", 32), true},
		{"head with more", "git-head", "ref: refs/heads/main\nand more", false},
		{"text of 40 letters", "git-head", strings.Repeat("z", 40), false},
		{"old svn", "svn-entries", "10\n\ndir\n1\nhttp://svn.test/trunk\n", true},
		{"a number alone", "svn-entries", "12", false},
		{"another number", "svn-entries", "42\n", false},
		{"one variable is a coincidence", "environment", "A=1\n", false},
		{"prose first", "environment", "Hello\nA=1\nB=2\nC=3\n", false},
		{"value of several lines", "environment", "A=1\nB=2\nKEY=\"-----BEGIN\nabc\n-----END\"\n", true},
		{"json", "environment", "{\n\"a\": 1\n}", false},
		{"javascript", "environment", "var a = 1;\nfunction b() {}\n", false},
		{"harmless actuator", "actuator-index", `{"_links":{"self":{},"health":{},"health-path":{},"info":{}}}`, false},
		{"some other endpoint", "actuator-index", `{"_links":{"self":{},"custom":{}}}`, true},
		{"other hal document", "actuator-index", `{"_links":{}}`, false},
		{"no heap dump", "actuator-heap-dump", `{"_links":{"env":{}}}`, false},
		{"openapi 3", "api-document", "{\n  \"openapi\": \"3.0.1\", ...", true},
		{"openapi in YAML", "api-document", "openapi: 3.0.1\npaths:\n  /x:\n", true},
		{"page about openapi", "api-document", `<p>"openapi": "3.0.1"`, false},
		{"des crypt", "password-file", "user:ab1234567890.\n", true},
		{"plain password", "password-file", "user:password\n", false},
		{"time of day", "password-file", "at 12:30\n", false},
		{"empty", "password-file", "\n", false},
		{"tar", "archive", strings.Repeat("\x00", 257) + "ustar\x00", true},
		{"python's server", "listing", "<title>Directory listing for /files/</title>", true},
		{"iis", "listing", `<A HREF="/">[To Parent Directory]</A>`, true},
		{"go's server", "listing", "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"a.txt\">a.txt</a>\n</pre>\n", true},
		{"encrypted key", "private-key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", true},
		{"public key", "private-key", "-----BEGIN PUBLIC KEY-----\n", false},
		{"certificate", "private-key", "-----BEGIN CERTIFICATE-----\n", false},
		{"laravel's log", "log", "[2026-11-23 10:00:00] production.ERROR: x\n", true},
		{"apache's log", "log", "[Mon Nov 23 10:00:00.123456 2026] [core:error] x\n", true},
		{"nginx's log", "log", "2026/11/23 10:00:00 [error] 12#12: x\n", true},
		{"accesses", "log", "192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n", true},
		{"prose with a date", "log", "2026-11-23 we met\n", false},
		{"two commands", "shell-history", "ls\ncd x\n", false},
		{"a script", "shell-history", "#!/bin/sh\ncd x\nls\ngit pull\ncat y\n", false},
		{"other json with a version", "terraform-state", `{"version":4}`, false},
		{"hex of another length", "rails-key", "0123456789abcdef", false},
		{"address without password", "url-credentials", "https://bob@github.com\n", false},
		{"comment in npmrc", "npm-token", "# _authToken=\nregistry=https://r.test\n", false},
	}
	for _, test := range tests {
		if got := proofs[test.proof](test.body); (got != "") != test.want {
			t.Errorf("%s: %q, want proof %t", test.name, got, test.want)
		}
	}
}

// The data name functions that exist, and nothing that cannot be found.
func TestExposureData(t *testing.T) {
	used := map[string]bool{}
	for _, p := range placesOf() {
		if !strings.HasPrefix(p.path, "/") || httptest.NewRequest("GET", strings.ReplaceAll(p.path, "{host}", "a"), nil) == nil {
			t.Errorf("path %q", p.path)
		}
		for _, e := range p.traits {
			used[e.Proof] = true
			texts := e.Title + strings.Join(e.All, "") + strings.Join(e.None, "")
			switch {
			case e.Kind == "" || e.Profile != "standard" && e.Profile != "deep":
				t.Errorf("%s: kind %q, profile %q", e.Path, e.Kind, e.Profile)
			case e.Proof != "" && proofs[e.Proof] == nil:
				t.Errorf("%s: no proof %q", e.Path, e.Proof)
			case e.Kind != "page" && e.Proof == "" && texts == "" && e.Prefix == "":
				t.Errorf("%s: nothing to look for", e.Path)
			case texts != strings.ToLower(texts):
				t.Errorf("%s: %q can never fit", e.Path, texts)
			case e.Form == "json" && strings.ContainsAny(strings.Join(e.All, ""), " \n\t"):
				t.Errorf("%s: white space in %q can never fit", e.Path, e.All)
			case e.Kind != "page" && e.Source == "":
				t.Errorf("%s: no source", e.Path)
			}
		}
	}
	for name := range proofs {
		if !used[name] {
			t.Errorf("no path uses %q", name)
		}
	}
}

func TestControlPaths(t *testing.T) {
	for exposed, want := range map[string]string{
		"/.git/HEAD": "/.git/T", "/.env": "/.T", "/.env.local": "/.T.local", "/backup.zip": "/T.zip", "/backup.tar.gz": "/T.gz", "/uploads/": "/T/",
		"/index.php~": "/T.php~", "/debug/pprof/": "/debug/T/", "/graphql": "/T", "/graphql?query=x": "/T?query=x", "/api/x/search?q=/a.b": "/api/x/T?q=/a.b",
	} {
		got := controlOf(exposed)
		if len(got) != len(want)-1+24 || !strings.HasPrefix(got, strings.Split(want, "T")[0]) || !strings.HasSuffix(got, strings.Split(want, "T")[1]) {
			t.Errorf("control of %s is %s, want %s", exposed, got, want)
		}
	}
}

// No line of any file with secrets keeps its value, however it is written.
func TestMasks(t *testing.T) {
	for line, want := range map[string]string{
		"DB_PASSWORD=hunter2": "DB_PASSWORD=***", "export A=hunter2": "export A=***", "password: hunter2": "password:***", "[default]": "[default]", "": "",
		"machine a login b password hunter2=": "***", "b3BlbnNzaA==": "***", "hunter2": "***", "define('P', 'hunter2:x');": "***", "-----BEGIN RSA PRIVATE KEY-----": "-----BEGIN RSA PRIVATE KEY-----",
		"[hunter2: x]": "***", "<?php $p='hunter2';": "***", "b3BlbnNzaAA=": "***", "https://a:hunter2@b": "https:***", `"pw": "hunter2"`: `"pw":***`,
	} {
		if got := maskedLine(line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, sample := range proofSamples {
		f.Add([]byte(sample))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got := masked("env", body); len(got) > 2*keptText+len(body)/4+1024 {
			t.Errorf("%d bytes of %d", len(got), len(body))
		}
	})
}
