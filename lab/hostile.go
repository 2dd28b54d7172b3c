package lab

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// numberSentinel is the address that nothing but a hostile redirect leads to.
const numberSentinel = 250

// dripEvery is how long a slow server waits between two bytes: far below the 64 bytes a second that a scanner may expect.
const dripEvery = time.Second

// hostileHosts try to hold, flood, mislead or break a scanner.
func hostileHosts() []host {
	return []host{
		{number: 100, servers: []server{
			{port: 2323, run: stream(drip(dripEvery, "welcome ", false)), note: "a banner of one byte a second without end", checks: []string{"service-tarpit"}},
		}},
		{number: 101, servers: []server{
			{port: 9999, run: stream(flood), note: "a banner without end, as fast as it is read"},
		}},
		{number: 102, servers: []server{
			{port: 8080, run: web(gzipBomb), note: "a body that grows a thousandfold", checks: []string{"http-cleartext", "http-decompression-bomb"}},
		}},
		{number: 103, servers: []server{
			{port: 8080, run: web(redirectCircle), note: "two pages that lead to each other", checks: []string{"http-redirect-loop"}},
			{port: 8081, run: web(redirectChain), note: "each page leads to another", checks: []string{"http-redirect-loop"}},
		}},
		{number: 104, servers: []server{
			{port: 8080, run: web(poisonedPage.site), note: "escape sequences, script and formulas in every text", checks: plainPage},
			{port: 8443, run: webTLS(tlsServer{certificate: certificate{subject: poison}}, poisonedPage.site), note: "the same over TLS, and in the certificate", checks: with(privateCA, tlsPage...)},
			{port: 9999, run: stream(poisonedBanner), note: "the same in a banner"},
			{port: 8081, run: stream(brokenHeader), note: "control characters in a header"},
		}},
		{number: 105, servers: []server{
			{port: 8080, run: stream(manyHeaders(cookieHeader, 100_000)), note: "100,000 cookies"},
			{port: 8081, run: stream(manyHeaders(longHeader, 10<<10)), note: "10 MiB of headers"},
		}},
		{number: 106, servers: []server{
			{port: 8080, run: web(redirectTo("http://169.254.169.254/latest/meta-data/")), note: "leads to a cloud's metadata"},
			{port: 8081, run: web(redirectTo("http://10.0.0.1/")), note: "leads into a private network"},
			{port: 8082, run: web(redirectToSentinel), note: "leads to an address out of scope"},
			{port: 8083, run: web(redirectTo("file:///etc/passwd")), note: "leads to a file"},
		}},
		{number: 107, servers: []server{
			{port: 8080, run: stream(dripAnswer), note: "an answer of one byte a second without end", checks: []string{"service-tarpit"}},
		}},
		{number: numberSentinel, seed: seedHidden, servers: []server{
			{port: 8080, run: sentinel, note: "out of scope"},
		}},
	}
}

// drip sends text over and over, a byte at a time. With waitFirst it lets the client speak first.
func drip(every time.Duration, text string, waitFirst bool) talk {
	return func(ctx context.Context, conn net.Conn) {
		if waitFirst {
			if _, err := conn.Read(make([]byte, maxLine)); err != nil {
				return
			}
		}
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := conn.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
			pause(ctx, every)
		}
	}
}

// dripAnswer answers HTTP with a header that never ends.
func dripAnswer(ctx context.Context, conn net.Conn) {
	drip(dripEvery, "HTTP/1.1 200 OK\r\nX-Slow: "+strings.Repeat("a", int(connectionLife/dripEvery)), true)(ctx, conn)
}

// floodBlock is what the fast servers send again and again: all that they need of memory.
var floodBlock [16 << 10]byte

// flood sends zeros for as long as somebody reads.
func flood(_ context.Context, conn net.Conn) {
	for {
		if _, err := conn.Write(floodBlock[:]); err != nil {
			return
		}
	}
}

// bombBytes is how long the bomb's body gets.
const bombBytes = 32 << 20

// gzipBomb sends about 32 KiB that unpack to bombBytes, whatever the client accepts. It is packed for the first who asks.
func gzipBomb(*running, host) http.Handler {
	bomb := sync.OnceValue(pack)
	headers := merge(hardenedHeaders, map[string]string{"Content-Encoding": "gzip"})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer{body: bomb(), headers: headers}.write(w)
	})
}

func pack() string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for range bombBytes / len(floodBlock) {
		// A bytes.Buffer takes everything.
		_, _ = w.Write(floodBlock[:])
	}
	_ = w.Close()
	return packed.String()
}

// redirectTo leads to one place.
func redirectTo(target string) site {
	return func(*running, host) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
		})
	}
}

// redirectCircle leads from / to /a to /b to /a.
func redirectCircle(*running, host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		next := "/a"
		if req.URL.Path == "/a" {
			next = "/b"
		}
		http.Redirect(w, req, next, http.StatusFound)
	})
}

// redirectChain counts up and never repeats itself.
func redirectChain(*running, host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, err := strconv.Atoi(strings.Trim(req.URL.Path, "/"))
		if err != nil || n < 0 {
			n = 0
		}
		http.Redirect(w, req, "/"+strconv.Itoa(n+1), http.StatusFound)
	})
}

// redirectToSentinel leads to an address of the lab that is no target.
func redirectToSentinel(r *running, h host) http.Handler {
	target := "http://" + hostPort(r.plan.address(numberSentinel).String(), r.plan.port(8080)) + "/"
	return redirectTo(target)(r, h)
}

// sentinel notes who comes, and says nothing.
func sentinel(ctx context.Context, r *running, _ host, s sockets) error {
	r.stream(ctx, s.tcp, func(ctx context.Context, conn net.Conn) {
		from := conn.RemoteAddr().String()
		r.trespasses.add(from)
		r.log.WarnContext(ctx, "connection to an address out of scope", "from", from)
	})
	return nil
}

// poison is text that does harm where somebody forgets to escape it: a formula for a spreadsheet, a script for a page, a
// sequence that sets a terminal's title, marks that turn the direction of text. No digits, so that it is no version.
const poison = printablePoison + "\x1b]0;owned\x07\x1b[2J\u2066"

// printablePoison is the part without control characters, which a client takes in a header.
const printablePoison = "=cmd|'/C calc'!A<script>alert('lab')</script>\u202egpj.exe"

// poisonedPage has poison in its title and its headers.
var poisonedPage = pages{
	headers: map[string]string{"Server": printablePoison, "X-Powered-By": `"><img src=x onerror=alert('lab')>`},
	paths:   map[string]answer{"/": {body: html(poison, "<h1>"+poison+"</h1>")}},
}

// poisonedBanner greets with poison.
func poisonedBanner(ctx context.Context, conn net.Conn) {
	say(conn, "%s", poison)
	silent(ctx, conn)
}

// brokenHeader has control characters where no client should take them.
func brokenHeader(_ context.Context, conn net.Conn) {
	if !skipRequest(conn) {
		return
	}
	say(conn, "HTTP/1.1 200 OK\r\nServer: %s\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", poison)
}

// skipRequest reads a request without a body; false if it never ended.
func skipRequest(conn net.Conn) bool {
	in := readLines(conn)
	for {
		line, ok := in.next()
		if !ok || line == "" {
			return ok
		}
	}
}

// cookieHeader is the n-th cookie.
func cookieHeader(n int) string { return "Set-Cookie: c" + strconv.Itoa(n) + "=lab; Path=/\r\n" }

// longHeader is the n-th header of 1 KiB.
func longHeader(n int) string {
	name := fmt.Sprintf("X-Lab-%06d: ", n)
	return name + strings.Repeat("a", 1<<10-len(name)-2) + "\r\n"
}

// manyHeaders answers every request with count headers, made while they are sent.
func manyHeaders(header func(n int) string, count int) talk {
	return func(_ context.Context, conn net.Conn) {
		if !skipRequest(conn) {
			return
		}
		// A buffered writer keeps its first error, and Flush tells it.
		out := bufio.NewWriterSize(conn, len(floodBlock))
		_, _ = out.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 2\r\n")
		for n := range count {
			if _, err := out.WriteString(header(n)); err != nil {
				return
			}
		}
		_, _ = out.WriteString("\r\nok")
		_ = out.Flush()
	}
}
