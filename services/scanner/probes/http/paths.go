package http

import (
	"net/netip"
	"strings"
)

// Bounds of the requests of one scan, beside the first one, its redirects, and one control for each thing that is found. A test
// counts them.
const (
	// standardPaths and deepPaths are how many paths of exposures.json are asked for.
	standardPaths, deepPaths = 120, 270
	// pageFolders is how many folders that the page itself names are asked for a listing.
	pageFolders = 4
	// otherRequests: a path that cannot exist, CORS (4), TRACE, OPTIONS, the favicon, security.txt (2).
	otherRequests = 10
)

// places are the paths to ask for in the profile, most telling first; host gives names that people choose for archives of their site.
func places(deep bool, host string) []place {
	var out []place
	_, err := netip.ParseAddr(host)
	named := err != nil && host != ""
	for _, one := range placesOf() {
		if one.deep && !deep {
			continue
		}
		if strings.Contains(one.path, "{host}") {
			if !named {
				continue
			}
			one.path = strings.ReplaceAll(one.path, "{host}", host)
		}
		out = append(out, one)
	}
	if deep {
		return out[:min(len(out), deepPaths)]
	}
	return out[:min(len(out), standardPaths)]
}
