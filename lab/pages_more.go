package lab

import (
	"maps"
	"net/http"
	"time"
)

// blog is a WordPress whose plugin writes its log into the web root.
var blog = pages{paths: map[string]answer{
	"/": {body: html("Acme blog", "<h1>Blog</h1><p>News.</p>")},
	"/wp-login.php": {body: html("Log In &lsaquo; Acme blog &#8212; WordPress",
		`<form name="loginform" action="/wp-login.php" method="post"><input name="log"><input type="password" name="pwd"><input type="submit" name="wp-submit" value="Log In"></form>`)},
	"/wp-json/wp/v2/users":  {kind: typeJSON, body: `[{"id":1,"name":"admin","slug":"admin","avatar_urls":{"24":"http://blog.acme.test/a.png"}}]`},
	"/wp-content/debug.log": {kind: typeText, body: "[05-Nov-2026 10:00:00 UTC] PHP Warning:  Undefined variable $x in /srv/blog/wp-content/plugins/a/a.php on line 7\n"},
}}

// operations is what a team runs for itself, without a login: consoles, monitoring, a registry, an error viewer, and an
// installation that nobody finished.
var operations = pages{paths: map[string]answer{
	"/": {body: html("Operations", "<h1>Operations</h1>")},
	"/script": {body: html("Jenkins", `<h1>Script Console</h1><p>Type in an arbitrary <a href="https://www.groovy-lang.org">Groovy script</a> and execute it on the server.</p>
<textarea name="script">println(Jenkins.instance.pluginManager.plugins)</textarea>`)},
	"/overview":                {kind: typeJSON, body: `{"taskmanagers":1,"slots-total":4,"slots-available":4,"jobs-running":0,"flink-version":"1.18.0","flink-commit":"a5548cc"}`},
	"/api/v1/status/buildinfo": {kind: typeJSON, body: `{"status":"success","data":{"version":"2.45.0","revision":"8ef767e","branch":"HEAD","buildUser":"root","buildDate":"20230623","goVersion":"go1.20.5"}}`},
	"/metrics":                 {kind: typeText, body: "# HELP process_open_fds Number of open file descriptors.\n# TYPE process_open_fds gauge\nprocess_open_fds 7\n"},
	"/v2/_catalog":             {kind: typeJSON, body: `{"repositories":["acme/shop","acme/worker"]}` + "\n"},
	"/elmah.axd":               {body: html("Error log for /LM/W3SVC/1/ROOT on ACME-WEB (Page #1)", "<h1>Error Log for ROOT on ACME-WEB</h1>")},
	"/wp-admin/install.php": {body: html("WordPress &rsaquo; Installation", `<h1>Welcome</h1><form id="setup" method="post" action="install.php?step=2">
<input name="weblog_title"><input name="user_name"></form>`)},
}}

// gateway is a firewall whose management and VPN are open to the world.
func gateway(r *running, h host) http.Handler {
	p := pages{headers: hardenedHeaders, paths: map[string]answer{
		"/": {body: html("FortiGate", `<form action="/logincheck" method="post"><input name="username"><input type="password" name="secretkey"></form>`)},
		"/remote/login": {body: html("Please Login", `<form action="/remote/logincheck" method="post"><input type="hidden" name="fgt_lang" value="en">
<input name="username"><input type="password" name="credential"></form>`)},
		"/.well-known/security.txt": {kind: typeText, body: securityText(r, authorityLife/20)},
	}}
	return p.site(r, h)
}

// securityText is a security.txt that expires so long from now.
func securityText(r *running, left time.Duration) string {
	return "Contact: mailto:security@acme.test\nExpires: " + r.authority.now.Add(left).UTC().Format(time.RFC3339) + "\n"
}

// members is an application over TLS whose protections are all there and all wrong.
func members(r *running, h host) http.Handler {
	headers := maps.Clone(hardenedHeaders)
	headers["Content-Security-Policy"] = "default-src 'self'; script-src 'self' 'unsafe-eval' https://widgets.exemplary.test; frame-ancestors 'none'"
	headers["Cache-Control"] = "public, max-age=300"
	p := pages{headers: headers, paths: map[string]answer{
		"/": {
			body: html("Members", `<h1>Members</h1><img src='http://cdn.acme.test/logo.png' alt=''><script src="https://widgets.exemplary.test/chat.js"></script>
<form method="get" action="/enter"><input name="user"><input type="password" name="password"><button>Sign in</button></form>`),
			cookies: []*http.Cookie{
				{Name: "sid", Value: "lab", Path: "/", Domain: "acme.test", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode},
				{Name: "__Host-theme", Value: "lab", Path: "/members", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode},
			},
		},
		"/.well-known/security.txt": {kind: typeText, body: securityText(r, -authorityLife/20)},
	}}
	inner := p.site(r, h)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Origin") == "null" {
			w.Header().Set("Access-Control-Allow-Origin", "null")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		if req.Method == http.MethodOptions {
			w.Header().Set("Allow", "OPTIONS, GET, HEAD, PROPFIND, PUT, DELETE")
			w.Header().Set("DAV", "1, 2")
			return
		}
		inner.ServeHTTP(w, req)
	})
}
