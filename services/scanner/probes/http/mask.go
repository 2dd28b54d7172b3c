package http

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// openKinds are classes whose answers are pages made to be read: their evidence is the answer as it came. The answers of all other
// classes may hold secrets, which must not get a second home with us: their evidence is what proves them, with the rest masked.
var openKinds = []string{
	"panel", "device-panel", "remote-portal", "cms-login", "installer", "directory-listing", "swagger", "graphql-playground", "graphql-introspection",
	"metrics", "open-monitoring", "open-repository", "user-list", "ds-store",
}

const (
	// keptBinary is how much is kept of what is no text: the first bytes, which say of which format it is.
	keptBinary = 16
	// keptText bounds what is kept of text.
	keptText = 4 << 10
)

// masked is the body of an exposure as its evidence keeps it, with the digest of the whole, by which two finds can be compared.
func masked(kind string, body []byte) []byte {
	if slices.Contains(openKinds, kind) {
		return body
	}
	sum := sha256.Sum256(body)
	var out bytes.Buffer
	fmt.Fprintf(&out, "[%d bytes read, SHA-256 %s; what may be secret is masked]\n", len(body), hex.EncodeToString(sum[:]))
	if bytes.IndexByte(body, 0) >= 0 || !utf8.Valid(body[:min(len(body), 1024)-tornRune(body)]) {
		fmt.Fprintf(&out, "%q\n", body[:min(len(body), keptBinary)])
		return out.Bytes()
	}
	for line := range strings.Lines(string(body)) {
		if out.Len() >= keptText {
			out.WriteString("[...]\n")
			break
		}
		out.WriteString(maskedLine(strings.TrimRight(line, "\r\n")))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// tornRune is how many bytes of a character the first kilobyte of body ends with that is cut in its middle.
func tornRune(body []byte) int {
	head := body[:min(len(body), 1024)]
	for n := range min(utf8.UTFMax, len(head)) {
		if utf8.RuneStart(head[len(head)-1-n]) {
			if utf8.FullRune(head[len(head)-1-n:]) {
				return 0
			}
			return n + 1
		}
	}
	return 0
}

// plainLines are lines that show what a file is and can hold no secret.
var plainLines = []string{"-----BEGIN ", "-----END ", "ref: refs/", "<?php", "SQLite format 3", "PHP License"}

// maskedLine keeps what a line is called and hides what it says: the name before the first "=", ":" or ">", and nothing of a line
// without one. A name is one word; a word with nothing behind its "=" may as well be the end of a key in base64.
func maskedLine(line string) string {
	text := strings.TrimSpace(line)
	if text == "" || strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") && simpleName(text[1:len(text)-1]) {
		return line
	}
	for _, plain := range plainLines {
		if strings.HasPrefix(text, plain) && len(text) < 100 && !strings.ContainsAny(text[len(plain):], "=;:\"'") {
			return line
		}
	}
	end := strings.IndexAny(text, "=:>")
	if end <= 0 || text[end] != ':' && strings.Trim(text[end:], "=> ") == "" {
		return "***"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(text[:end], "export "), "- ")
	if !simpleName(strings.Trim(name, " \"'{")) {
		return "***"
	}
	return text[:end+1] + "***"
}

// simpleName says whether text is the name of a setting: one word of letters, few digits and a few marks.
func simpleName(text string) bool {
	digits := 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_', c == '-', c == '.', c == '$':
		default:
			return false
		}
	}
	return text != "" && len(text) <= 40 && digits <= 4
}
