package http

import (
	"cmp"
	"net/url"
	pathname "path"
	"slices"
	"strings"
)

// folders are places for the folders that a page takes its own things from: they exist, so only their listing has to be asked for.
// Those with most things in them come first, the root and what is in list already are left out.
func folders(paths []string, list []place) []place {
	counts := map[string]int{}
	for _, path := range paths {
		if folder, _ := pathname.Split(path); len(folder) > 1 && len(folder) < 256 && !strings.ContainsAny(folder, "?#") {
			counts[folder]++
		}
	}
	var names []string
	for folder := range counts {
		if !slices.ContainsFunc(list, func(p place) bool { return p.path == folder }) {
			names = append(names, folder)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	var out []place
	for _, folder := range names[:min(len(names), pageFolders)] {
		if _, err := url.Parse(folder); err == nil {
			out = append(out, place{path: folder, traits: []trait{{Path: folder, Kind: "directory-listing", Proof: "listing"}}})
		}
	}
	return out
}
