package lab

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// html wraps a body in a page.
func html(title, body string) string {
	return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title + "</title></head>\n<body>\n" + body + "\n</body></html>\n"
}

// loginForm is a form with a password field.
const loginForm = `<form method="post" action="/login"><label>User <input name="user"></label>
<label>Password <input type="password" name="password"></label><button>Sign in</button></form>`

// hardenedHeaders are what a good answer says about itself.
var hardenedHeaders = map[string]string{
	"Strict-Transport-Security":  "max-age=31536000; includeSubDomains",
	"Content-Security-Policy":    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	"X-Frame-Options":            "DENY",
	"X-Content-Type-Options":     "nosniff",
	"Referrer-Policy":            "no-referrer",
	"Permissions-Policy":         "camera=(), geolocation=(), microphone=()",
	"Cross-Origin-Opener-Policy": "same-origin",
	"Cache-Control":              "no-store",
}

// hardened is an application as it should be.
func hardened(r *running, _ host) http.Handler {
	expires := r.authority.now.Add(authorityLife / 20).UTC().Format(time.RFC3339)
	return pages{headers: hardenedHeaders, paths: map[string]answer{
		"/": {
			body: html("Exemplary", "<h1>Exemplary</h1>\n"+loginForm),
			cookies: []*http.Cookie{
				{Name: "__Host-session", Value: "lab", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode},
			},
		},
		"/.well-known/security.txt": {kind: typeText, body: "Contact: mailto:security@exemplary.test\nExpires: " + expires + "\n"},
		"/robots.txt":               {kind: typeText, body: "User-agent: *\nDisallow:\n"},
	}}
}

// hardenedPlain is the same without TLS: nothing to find but that.
func hardenedPlain(r *running, h host) http.Handler {
	return pages{headers: hardenedHeaders, paths: map[string]answer{"/": {body: html("Target", "<h1>Target</h1>")}}}.site(r, h)
}

// storefront lies open: repository, settings, backups and diagnosis pages of an old PHP application.
var storefront = pages{
	headers: map[string]string{"Server": "Apache/2.4.29 (Ubuntu)", "X-Powered-By": "PHP/7.2.24"},
	paths:   merge(map[string]answer{"/": {body: html("Acme", "<h1>Acme</h1><p>Welcome.</p>")}}, exposedFiles),
}

// shop is an application over TLS that gets the browser's protections wrong.
var shop = pages{
	headers: map[string]string{
		"Strict-Transport-Security": "max-age=3600",
		"Content-Security-Policy":   "default-src 'self'; script-src 'self' 'unsafe-inline'",
	},
	cors: corsReflectWithCredentials,
	paths: map[string]answer{"/": {
		body: html("Acme shop", `<h1>Shop</h1>
<script src="http://cdn.acme.test/shop.js"></script>
<form method="post" action="http://shop.acme.test/order"><input name="article"><button>Order</button></form>`),
		cookies: []*http.Cookie{{Name: "PHPSESSID", Value: "lab", Path: "/"}},
	}},
}

// bareTLS is an application over TLS that sets no header at all.
var bareTLS = pages{paths: map[string]answer{"/": {body: html("Back office", "<h1>Back office</h1>")}}}

// login asks for a password without TLS.
var login = pages{paths: map[string]answer{"/": {
	body:    html("Sign in", "<h1>Sign in</h1>\n"+loginForm),
	cookies: []*http.Cookie{{Name: "sessionid", Value: "lab", Path: "/"}},
}}}

// basicAuth asks for HTTP Basic credentials on every path, without TLS.
var basicAuth = pages{everywhere: &answer{
	status:  http.StatusUnauthorized,
	kind:    typeText,
	headers: map[string]string{"WWW-Authenticate": `Basic realm="Acme administration"`},
	body:    "unauthorized\n",
}}

// databasePanel is an administration panel.
var databasePanel = pages{paths: map[string]answer{"/": {
	body: html("phpMyAdmin", `<div id="page_content"><h1>Welcome to <bdo dir="ltr" lang="en">phpMyAdmin</bdo></h1>
<form method="post" action="index.php" name="login_form"><input name="pma_username"><input type="password" name="pma_password">
<input type="submit" value="Log in"></form></div>`),
}}}

// defaultNginx is what nginx shows before anybody has set it up, on a server that echoes requests.
var defaultNginx = pages{
	headers: map[string]string{"Server": "nginx/1.14.0"},
	trace:   true,
	paths: map[string]answer{"/": {body: html("Welcome to nginx!", `<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and working. Further configuration is required.</p>
<p><em>Thank you for using nginx.</em></p>`)}},
}

// debugSite shows a framework's debug page, and has settings in its root.
var debugSite = pages{paths: merge(exposedSettings, map[string]answer{"/": {
	status: http.StatusInternalServerError,
	body: html("ValueError at /", `<div id="summary"><h1>ValueError at /</h1><pre class="exception_value">invalid literal for int() with base 10: ''</pre></div>
<div id="traceback"><h2>Traceback</h2><p>Django Version: 2.2.1</p><p>Exception Type: ValueError</p><pre>Traceback (most recent call last):
  File "/srv/app/views.py", line 12, in index</pre></div>
<div id="explanation"><p>You're seeing this error because you have <code>DEBUG = True</code> in your Django settings file.</p></div>`),
}})}

// fileListing is a folder that the server lists.
var fileListing = pages{paths: map[string]answer{
	"/": {body: html("Index of /", `<h1>Index of /</h1><table><tr><th>Name</th><th>Last modified</th><th>Size</th></tr>
<tr><td><a href="/">Parent Directory</a></td><td>&nbsp;</td><td>-</td></tr>
<tr><td><a href="invoices-2025.csv">invoices-2025.csv</a></td><td>2025-12-31 18:00</td><td>1.2M</td></tr></table>`)},
	"/invoices-2025.csv": {kind: "text/csv", body: "number,amount\n1,10.00\n"},
}}

// api is a JSON service with its management and its documentation open to all.
var api = pages{cors: corsReflect, paths: merge(exposedManagement, map[string]answer{
	"/": {kind: typeJSON, body: `{"service":"acme","status":"ok"}`},
})}

// catchAll answers every path with one page and status 200, as single-page applications do: nothing is exposed there.
var catchAll = pages{everywhere: &answer{body: html("Acme app", `<div id="root"></div>`)}}

// mirror answers every path with status 200 and a page that repeats it and, but for the root, is different each time: harder still.
func mirror(*running, host) http.Handler {
	var count atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", typeHTML)
		body := "<h1>Did you mean " + harmless(req.URL.Path) + "?</h1>"
		if req.URL.Path != "/" {
			body += "<p>Request " + strconv.FormatInt(count.Add(1), 10) + "</p>"
		}
		_, _ = io.WriteString(w, html("Acme search", body))
	})
}

// maxEcho bounds how much of a path is repeated.
const maxEcho = 200

// harmless makes a path harmless in HTML: only letters, digits and a few marks stay.
func harmless(path string) string {
	safe := make([]byte, 0, maxEcho)
	for i := 0; i < len(path) && len(safe) < maxEcho; i++ {
		c := path[i]
		if c == '/' || c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			safe = append(safe, c)
		}
	}
	return string(safe)
}

// jsonSite is a service that answers fixed JSON; a path that it lacks is a 404 in JSON.
func jsonSite(headers map[string]string, bodies map[string]string) site {
	return func(*running, host) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			for name, value := range headers {
				w.Header().Set(name, value)
			}
			w.Header().Set("Content-Type", typeJSON)
			body, ok := bodies[req.URL.Path]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
				body = fmt.Sprintf(`{"message":%q}`, http.StatusText(http.StatusNotFound))
			}
			_, _ = io.WriteString(w, body)
		})
	}
}
