// Command cdnranges makes the table of address ranges of content delivery networks, web application firewalls and clouds that
// the port scan reads, from the data of projectdiscovery/cdncheck (MIT). It takes the module from the Go module proxy, uses its
// data file and none of its code, and writes the same bytes for the same version.
//
//	cd tools/cdnranges && go run . -version v1.2.46 -out ../../services/scanner/probes/ranges/ranges.txt.gz
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const module = "github.com/projectdiscovery/cdncheck"

// names are providers whose name in the data is not ASCII.
var names = map[string]string{"云盾": "yundun", "加速乐": "jiasule", "百度云加速": "baidu", "腾讯云": "tencent"}

// wide are lists of a class that hold a provider's whole network, with rented machines in it, and so tell nothing: Google's has
// 22 million addresses with all of Compute Engine, the others are access networks and hosting companies.
var wide = map[string][]string{"cdn": {"google", "cafe24", "kinx", "lgtelecom", "skbroadband"}}

func main() {
	version := flag.String("version", "v1.2.46", "version of "+module)
	out := flag.String("out", "ranges.txt.gz", "file to write")
	flag.Parse()
	if err := run(context.Background(), *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "cdnranges:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version, out string) error {
	dir, date, err := download(ctx, version)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, "sources_data.json"))
	if err != nil {
		return err
	}
	var data map[string]map[string][]string
	if err := json.Unmarshal(text, &data); err != nil {
		return fmt.Errorf("read sources_data.json: %w", err)
	}
	var table bytes.Buffer
	fmt.Fprintf(&table, "# Address ranges of content delivery networks, web application firewalls and clouds.\n")
	fmt.Fprintf(&table, "# Made by tools/cdnranges from %s %s (MIT, Copyright (c) 2021 ProjectDiscovery, Inc.).\n", module, version)
	fmt.Fprintf(&table, "date %s\n", date)
	for _, class := range []string{"cdn", "waf", "cloud"} {
		if err := write(&table, class, data[class]); err != nil {
			return fmt.Errorf("%s: %w", class, err)
		}
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(table.Bytes()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	fmt.Printf("%d bytes, %d packed\n", table.Len(), packed.Len())
	return os.WriteFile(out, packed.Bytes(), 0o640)
}

// download gives the folder of the module in the module cache, and the day on which the version was made.
func download(ctx context.Context, version string) (dir, date string, err error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module+"@"+version)
	cmd.Dir, cmd.Stderr = os.TempDir(), os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("go mod download: %w", err)
	}
	var got struct{ Dir, Info string }
	if err := json.Unmarshal(text, &got); err != nil {
		return "", "", err
	}
	var info struct{ Time time.Time }
	text, err = os.ReadFile(got.Info)
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	return got.Dir, info.Time.UTC().Format(time.DateOnly), err
}

// span is a range of addresses of one family.
type span struct {
	first, last netip.Addr
	provider    string
}

// write writes the ranges of one class: each address in at most one, of the provider that names it most closely.
func write(out *bytes.Buffer, class string, providers map[string][]string) error {
	var all []span
	for _, provider := range slices.Sorted(maps.Keys(providers)) {
		name := cmp.Or(names[provider], provider)
		if slices.Contains(wide[class], name) {
			continue
		}
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("provider %q needs a name in ASCII", provider)
		}
		var own []span
		for _, text := range providers[provider] {
			prefix, err := parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", provider, err)
			}
			own = append(own, span{prefix.Addr(), last(prefix), name})
		}
		all = append(all, merge(own)...)
	}
	flat := flatten(all)
	byProvider := map[string][]span{}
	for _, s := range flat {
		byProvider[s.provider] = append(byProvider[s.provider], s)
	}
	for _, name := range slices.Sorted(maps.Keys(byProvider)) {
		fmt.Fprintf(out, "%s %s\n", class, name)
		for _, s := range byProvider[name] {
			fmt.Fprintf(out, "%s %s\n", s.first, s.last)
		}
	}
	return nil
}

func parse(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		return netip.PrefixFrom(addr, addr.BitLen()), err
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 1 << (7 - i%8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

func order(a, b span) int { return cmp.Or(a.first.Compare(b.first), b.last.Compare(a.last)) }

// merge joins ranges that touch.
func merge(spans []span) []span {
	slices.SortFunc(spans, order)
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && out[n-1].provider == s.provider && out[n-1].first.BitLen() == s.first.BitLen() &&
			(s.first.Compare(out[n-1].last) <= 0 || out[n-1].last.Next() == s.first) {
			if s.last.Compare(out[n-1].last) > 0 {
				out[n-1].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// flatten makes ranges that do not overlap: where several hold an address, the one that begins last has it, which for prefixes
// is the narrowest.
func flatten(spans []span) []span {
	slices.SortFunc(spans, order)
	var out, open []span // open: those that hold the present address, the narrowest last
	emit := func(first, last netip.Addr, provider string) {
		if first.Compare(last) <= 0 {
			out = append(out, span{first, last, provider})
		}
	}
	var at netip.Addr // what comes before is written
	closeUntil := func(limit netip.Addr, all bool) {
		for len(open) > 0 {
			top := open[len(open)-1]
			if !all && top.last.Compare(limit) >= 0 {
				return
			}
			if at.Compare(top.last) <= 0 {
				emit(at, top.last, top.provider)
				at = top.last.Next()
			}
			open = open[:len(open)-1]
		}
	}
	for _, s := range spans {
		family := len(open) > 0 && open[0].first.BitLen() != s.first.BitLen()
		closeUntil(s.first, family)
		if n := len(open); n > 0 && at.Compare(s.first) < 0 {
			emit(at, s.first.Prev(), open[n-1].provider)
		}
		if len(open) == 0 || at.Compare(s.first) < 0 {
			at = s.first
		}
		open = append(open, s)
	}
	closeUntil(netip.Addr{}, true)
	return merge(out)
}
