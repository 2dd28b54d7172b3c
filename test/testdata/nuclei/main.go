// Command nuclei plays nuclei's command line for the truth of the vuln checks: it asks its target through its proxy and, if somebody
// answers, writes the results that its templates hold, with the target in the place of {{target}}.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "[FTL]", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	set := flag.NewFlagSet("nuclei", flag.ContinueOnError)
	target, proxy, templates := set.String("target", "", ""), set.String("proxy", "", ""), set.String("templates", "", "")
	for _, name := range []string{"type", "tags", "exclude-tags", "header", "rate-limit", "concurrency", "bulk-size", "timeout", "retries", "max-host-error"} {
		set.String(name, "", "")
	}
	for _, name := range []string{"jsonl", "silent", "no-color", "omit-raw", "omit-template", "disable-update-check", "no-interactsh", "no-stdin"} {
		set.Bool(name, false, "")
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if err := ask(*target, *proxy); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(*templates, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Println(strings.ReplaceAll(strings.TrimSpace(string(raw)), "{{target}}", strings.TrimSuffix(*target, "/")))
	}
	return nil
}

func ask(target, proxy string) error {
	raw, err := os.ReadFile(proxy)
	if err != nil {
		return err
	}
	through, err := url.Parse(strings.TrimSpace(string(raw)))
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(through)}}
	res, err := client.Get(target)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
