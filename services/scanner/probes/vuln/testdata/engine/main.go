// Command engine plays nuclei's command line for the tests: it asks its target through its proxy and writes JSON lines. The file
// "mode" in its templates says how it behaves.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

type engine struct {
	target, templates string
	client            *http.Client
	header            string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		time.Sleep(time.Hour)
		return
	}
	e := &engine{}
	set := flag.NewFlagSet("nuclei", flag.ExitOnError)
	set.StringVar(&e.target, "target", "", "")
	set.StringVar(&e.templates, "templates", "", "")
	set.StringVar(&e.header, "header", "", "")
	proxy := set.String("proxy", "", "")
	types := set.String("type", "", "")
	tags := set.String("tags", "", "")
	excluded := set.String("exclude-tags", "", "")
	for _, name := range []string{"rate-limit", "concurrency", "bulk-size", "timeout", "retries", "max-host-error"} {
		set.Int(name, 0, "")
	}
	jsonl := set.Bool("jsonl", false, "")
	for _, name := range []string{"silent", "no-color", "omit-raw", "omit-template", "disable-update-check", "no-interactsh", "no-stdin"} {
		if value := set.Bool(name, false, ""); value == nil {
			os.Exit(2)
		}
	}
	_ = set.Parse(os.Args[1:])
	if !*jsonl || *types != "http" || set.NArg() > 0 {
		fail("wrong command line: %q", os.Args)
	}
	text, err := os.ReadFile(*proxy)
	if err != nil {
		fail("no proxy: %v", err)
	}
	through, err := url.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		fail("no proxy: %v", err)
	}
	e.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy: http.ProxyURL(through), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	mode, err := os.ReadFile(filepath.Join(e.templates, "mode"))
	if err != nil {
		fail("no mode: %v", err)
	}
	e.behave(strings.TrimSpace(string(mode)), *tags, *excluded)
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "[FTL] "+format+"\n", args...)
	os.Exit(1)
}

func (e *engine) get(address string) (int, string) {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return 0, err.Error()
	}
	name, value, _ := strings.Cut(e.header, ": ")
	request.Header.Set(name, value)
	answer, err := e.client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

// say writes one result with the fields of nuclei v3.11.1.
func (e *engine) say(id, severity, path string, change func(map[string]any)) {
	event := map[string]any{
		"template-id": id, "template-path": "/x/" + id + ".yaml", "type": "http", "host": e.target, "matched-at": strings.TrimSuffix(e.target, "/") + path,
		"info": map[string]any{
			"name": "Title of " + id, "author": []string{"somebody"}, "tags": []string{"cve", "test"}, "severity": severity,
			"description": "What it is.", "reference": []string{"https://example.com/advisory", "javascript:alert(1)"},
			"classification": map[string]any{"cve-id": []string{"cve-2026-1234"}, "cwe-id": []string{"cwe-79"}, "cvss-score": 9.8},
		},
		"extracted-results": []string{"1.2.3\u001b[2J"}, "timestamp": "2026-11-01T00:00:00Z", "matcher-status": true, "ip": "127.0.0.1",
	}
	if change != nil {
		change(event)
	}
	text, err := json.Marshal(event)
	if err != nil {
		fail("%v", err)
	}
	fmt.Println(string(text))
}

func (e *engine) behave(mode, tags, excluded string) {
	word, rest, _ := strings.Cut(mode, " ")
	switch word {
	case "good":
		status, body := e.get(e.target)
		if status != http.StatusOK {
			fail("target: %d %s", status, body)
		}
		e.say("CVE-2026-1234", "critical", "/vulnerable", nil)
		e.say("CVE-2026-1234", "critical", "/vulnerable?again", nil) // the same
		e.say("git-config", "medium", "/.git/config", nil)
		e.say("tech-detect", "info", "/", func(m map[string]any) {
			m["matcher-name"] = "nginx"
			m["info"] = map[string]any{"name": "Technologies", "severity": "info", "tags": "tech,discovery", "reference": nil}
		})
		e.say("not-matched", "high", "/", func(m map[string]any) { m["matcher-status"] = false })
		e.say("seen", "info", "/seen", func(m map[string]any) {
			m["extracted-results"] = append([]string{"tags=" + tags, "excluded=" + excluded, "agent=" + body}, os.Environ()...)
		})
	case "clean":
		e.get(e.target)
	case "unreached":
	case "bad":
		e.get(e.target)
		e.say("good-one", "low", "/", nil)
		fmt.Println("this is no JSON")
		fmt.Println(`{"template-id":"x y","type":"http","matched-at":"` + e.target + `","info":{"severity":"high"}}`)
		fmt.Println(`{"template-id":"other","type":"dns","matched-at":"` + e.target + `","info":{"severity":"high"}}`)
		fmt.Println(`{"template-id":"elsewhere","type":"http","matched-at":"http://192.0.2.7/","info":{"severity":"high"}}`)
		fmt.Println(`{"template-id":"nothing","type":"http","matched-at":"` + e.target + `","info":{}}`)
		fmt.Println(strings.Repeat("x", 300<<10))
		fmt.Print(`{"template-id":"cut`)
	case "endless":
		out := bufio.NewWriter(os.Stdout)
		for {
			_, _ = out.WriteString(strings.Repeat("y", 1000) + "\n")
		}
	case "longline":
		for {
			_, _ = os.Stdout.WriteString(strings.Repeat("z", 1<<16))
		}
	case "many":
		for i := 0; ; i++ {
			e.say(fmt.Sprintf("t-%d", i), "high", "/", nil)
		}
	case "hang":
		e.get(e.target)
		e.say("before", "high", "/", nil)
		time.Sleep(time.Hour)
	case "fork":
		child := exec.Command(os.Args[0], "child")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			fail("%v", err)
		}
		if err := os.WriteFile(rest, fmt.Append(nil, child.Process.Pid), 0o600); err != nil {
			fail("%v", err)
		}
		e.get(e.target)
		e.say("before", "high", "/", nil)
	case "crash":
		e.get(e.target)
		fail("templates are broken\x1b[2J")
	case "greedy":
		var all [][]byte
		for {
			block := make([]byte, 64<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			all = append(all, block)
			if len(all) > 1000 {
				fail("nothing stopped it")
			}
		}
	case "file":
		f, err := os.Create("big")
		if err != nil {
			fail("%v", err)
		}
		block := make([]byte, 1<<20)
		for range 4096 {
			if _, err := f.Write(block); err != nil {
				fail("stopped: %v", err)
			}
		}
	case "forbidden":
		e.get(e.target)
		for _, address := range strings.Fields(rest) {
			status, body := e.get(address)
			e.say("tried", "info", "/"+url.PathEscape(address), func(m map[string]any) {
				m["extracted-results"] = []string{fmt.Sprintf("%d %s", status, body)}
			})
		}
	default:
		fail("mode %q", mode)
	}
}
