package http

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Each function here reads the beginning of a file and says what proves that it is what its name says. A proof names, but never
// repeats, what is secret: it is shown to many, and the evidence keeps the bytes.

var (
	commitLine   = regexp.MustCompile(`^[0-9a-f]{40}(?:[0-9a-f]{24})?\s*$`)
	reflogLine   = regexp.MustCompile(`^[0-9a-f]{40} [0-9a-f]{40} `)
	variableLine = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=`)
	passwordLine = regexp.MustCompile(`^[^:\s<>]{1,64}:(?:\$apr1\$|\$2[aby]\$|\$[156]\$|\{SHA\}|\{SSHA\}|[./0-9A-Za-z]{13}$)`)
	keyHead      = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )?(?:ENCRYPTED )?PRIVATE KEY-----`)
	sqlWords     = regexp.MustCompile(`(?im)^\s*(?:-- (?:MySQL|MariaDB|PostgreSQL|phpMyAdmin|pgAdmin)|CREATE TABLE|INSERT INTO|DROP TABLE IF EXISTS|PRAGMA foreign_keys)`)
	listingHead  = regexp.MustCompile(`(?i)<title>\s*(?:index of /|directory listing for /|listing directory /|directory: /)`)
	goListing    = regexp.MustCompile(`^(?i:<!doctype html>\s*<meta name="viewport"[^>]*>\s*)?<pre>\s*<a href="`)
	composeImage = regexp.MustCompile(`(?m)^\s+(?:image|build):`)
	composeHead  = regexp.MustCompile(`(?m)^services:\s*$`)
)

// markup says that a body is a page and so no file of text.
func markup(body string) bool {
	head := strings.ToLower(strings.TrimSpace(body[:min(len(body), 512)]))
	return strings.HasPrefix(head, "<!doctype") || strings.HasPrefix(head, "<html") || strings.HasPrefix(head, "<head")
}

func gitHead(body string) string {
	line := strings.TrimRight(body, "\r\n")
	if name, ok := strings.CutPrefix(line, "ref: refs/"); ok && len(name) < 256 && !strings.ContainsAny(name, " \t\n<>") {
		return "the file names the branch refs/" + probes.SafeString(name, 128)
	}
	if commitLine.MatchString(line) {
		return "the file names a commit"
	}
	return ""
}

func gitConfig(body string) string {
	if !markup(body) && strings.Contains(body, "[core]") && strings.Contains(body, "repositoryformatversion") {
		return "a Git configuration with its [core] section"
	}
	return ""
}

func gitLog(body string) string {
	if reflogLine.MatchString(body) {
		return "the history of a Git branch"
	}
	return ""
}

func sqliteFile(body string) string {
	if strings.HasPrefix(body, "SQLite format 3\x00") {
		return "an SQLite database"
	}
	return ""
}

// svnEntries: the format's number in the first line, 8 to 12, then for the old formats the directory (Subversion notes/).
func svnEntries(body string) string {
	number, rest, ok := strings.Cut(strings.ReplaceAll(body, "\r\n", "\n"), "\n")
	switch {
	case !ok || len(rest) > 0 && !strings.Contains(rest, "\ndir\n"):
		return ""
	case number == "8" || number == "9" || number == "10" || number == "11" || number == "12":
		return "a Subversion working copy of format " + number
	}
	return ""
}

// environment wants several variables and nothing that is neither variable, comment nor empty line.
func environment(body string) string {
	if markup(body) {
		return ""
	}
	var names []string
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		found := variableLine.FindStringSubmatch(line)
		if found == nil {
			if len(names) < 3 {
				return ""
			}
			continue // inside a value of several lines, or cut
		}
		names = append(names, found[1])
	}
	if len(names) < 2 {
		return ""
	}
	return "variables " + probes.SafeString(strings.Join(names[:min(len(names), 6)], ", "), 256)
}

func finderStore(body string) string {
	if strings.HasPrefix(body, "\x00\x00\x00\x01Bud1") {
		return "a macOS folder index"
	}
	return ""
}

func passwordFile(body string) string {
	count := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !passwordLine.MatchString(line) {
			return ""
		}
		count++
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("password hashes of %d users", count)
}

func awsCredentials(body string) string {
	if !markup(body) && strings.Contains(body, "aws_access_key_id") && strings.Contains(body, "aws_secret_access_key") {
		return "aws_access_key_id and aws_secret_access_key"
	}
	return ""
}

func composeFile(body string) string {
	if !markup(body) && composeHead.MatchString(body) && composeImage.MatchString(body) {
		return "a Compose file with its services"
	}
	return ""
}

func wordpressConfig(body string) string {
	if strings.Contains(body, "DB_PASSWORD") && strings.Contains(body, "DB_NAME") {
		return "DB_NAME and DB_PASSWORD of WordPress"
	}
	return ""
}

func phpSource(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "<?php") {
		return "PHP source code"
	}
	return ""
}

// archive knows the formats by their first bytes: zip, gzip, tar, 7z, rar.
func archive(body string) string {
	switch {
	case strings.HasPrefix(body, "PK\x03\x04"):
		return "a zip archive"
	case strings.HasPrefix(body, "\x1f\x8b\x08"):
		return "a gzip archive"
	case len(body) > 262 && body[257:262] == "ustar":
		return "a tar archive"
	case strings.HasPrefix(body, "7z\xbc\xaf\x27\x1c"):
		return "a 7z archive"
	case strings.HasPrefix(body, "Rar!\x1a\x07"):
		return "a rar archive"
	}
	return ""
}

func sqlDump(body string) string {
	if !markup(body) && sqlWords.MatchString(body) {
		return "SQL statements of a database dump"
	}
	return ""
}

func privateKey(body string) string {
	if head := keyHead.FindString(body); head != "" && !markup(body) {
		return head
	}
	return ""
}

func phpInfo(body string) string {
	if strings.Contains(body, "phpinfo()") && strings.Contains(body, "PHP Version") {
		return "the output of phpinfo()"
	}
	return ""
}

func apacheStatus(body string) string {
	if strings.Contains(body, "Apache Server Status for") || (strings.Contains(body, "Server uptime:") && strings.Contains(body, "Total accesses:")) {
		return "the status page of Apache"
	}
	return ""
}

func nginxStatus(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "Active connections:") && strings.Contains(body, "server accepts handled requests") {
		return "the status page of nginx"
	}
	return ""
}

// harmlessEndpoints of Spring Boot's actuator are open by default and tell nothing.
var harmlessEndpoints = map[string]bool{"self": true, "health": true, "health-path": true, "info": true}

func actuatorIndex(body string) string {
	var index struct {
		Links map[string]json.RawMessage `json:"_links"`
	}
	if json.Unmarshal([]byte(body), &index) != nil {
		return ""
	}
	for _, telling := range []string{"env", "configprops", "threaddump", "loggers", "beans", "mappings", "httptrace", "shutdown", "metrics", "heapdump"} {
		if _, ok := index.Links[telling]; ok {
			return "the actuator offers " + telling
		}
	}
	for name := range index.Links {
		if !harmlessEndpoints[name] {
			return "the actuator offers more than health and info"
		}
	}
	return ""
}

func actuatorEnvironment(body string) string {
	if strings.HasPrefix(body, "{") && strings.Contains(body, `"propertySources"`) && strings.Contains(body, `"activeProfiles"`) {
		return "the environment of a Spring application"
	}
	return ""
}

func actuatorConfig(body string) string {
	if strings.HasPrefix(body, "{") && strings.Contains(body, `"contexts"`) && strings.Contains(body, `"beans"`) {
		return "the configuration of a Spring application"
	}
	return ""
}

func expvars(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "{") && strings.Contains(body, `"cmdline"`) && strings.Contains(body, `"memstats"`) {
		return "cmdline and memstats of a Go program"
	}
	return ""
}

func pprofIndex(body string) string {
	if strings.Contains(body, "/debug/pprof/") && strings.Contains(body, "Types of profiles available") {
		return "the profiles of a Go program"
	}
	return ""
}

// documentHead finds the version that an API description must begin to name; the files are often longer than what is read.
var documentHead = regexp.MustCompile(`"(?:swagger|openapi)"\s*:\s*"([0-9.]{1,12})"`)

// documentLine is the same in YAML.
var documentLine = regexp.MustCompile(`(?m)^(?:swagger|openapi):\s*['"]?([0-9.]{1,12})`)

func apiDocument(body string) string {
	if found := documentHead.FindStringSubmatch(body); found != nil && strings.HasPrefix(strings.TrimSpace(body), "{") {
		return "an API description of version " + found[1]
	}
	if found := documentLine.FindStringSubmatch(body); found != nil && !markup(body) && strings.Contains(body, "paths:") {
		return "an API description of version " + found[1]
	}
	return ""
}

func swaggerPage(body string) string {
	lower := strings.ToLower(body)
	switch {
	case strings.Contains(lower, "<title>swagger ui</title>"), strings.Contains(lower, "- swagger ui</title>"):
		return "Swagger UI"
	case markup(body) && strings.Contains(lower, "<redoc "):
		return "ReDoc"
	}
	return ""
}

func graphqlPage(body string) string {
	for _, name := range []string{"GraphQL Playground", "GraphiQL", "Apollo Sandbox"} {
		if markup(body) && strings.Contains(body, name) {
			return name
		}
	}
	return ""
}

func directoryListing(body string) string {
	switch {
	case listingHead.MatchString(body), goListing.MatchString(body):
		return "a listing of the directory's files"
	case strings.Contains(body, "[To Parent Directory]"):
		return "a listing of the directory's files by IIS"
	}
	return ""
}
