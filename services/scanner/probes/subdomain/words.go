package subdomain

import (
	_ "embed" // the list of words
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// wordsFile is the list of common names, most common first. Its head says where it is from and when it was made.
//
//go:embed words.txt
var wordsFile string

// words are the list, read at its first use.
var words = sync.OnceValue(func() []string {
	var out []string
	for line := range strings.Lines(wordsFile) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, strings.Fields(line)...)
		}
	}
	return out
})

// stages are what people add to a name for another edition of the same.
var stages = []string{"dev", "test", "stage", "staging", "prod", "uat", "qa", "demo", "old", "new", "backup", "internal", "admin", "api", "v1", "v2", "eu", "us", "1", "2"}

var trailing = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(.*?)(\d{1,3})$`) })

// variations are names like those that were found: with a stage before or after, with another number, with parts exchanged.
func (s *scan) variations() []string {
	s.mu.Lock()
	found := make([]string, 0, len(s.found))
	for name := range s.found {
		found = append(found, name)
	}
	s.mu.Unlock()
	slices.SortFunc(found, byLength)
	var all [][]string
	for _, name := range found {
		label, parent, _ := strings.Cut(name, ".")
		all = append(all, join(vary(label), parent))
	}
	return shared(all, s.profile.variations)
}

// shared takes from each list in turn, so that the bound does not go to the first name alone.
func shared(lists [][]string, limit int) []string {
	seen := map[string]bool{}
	var out []string
	for i := 0; ; i++ {
		more := false
		for _, list := range lists {
			if i >= len(list) {
				continue
			}
			more = true
			if name := list[i]; !seen[name] {
				if len(out) == limit {
					return out
				}
				seen[name] = true
				out = append(out, name)
			}
		}
		if !more {
			return out
		}
	}
}

// vary gives labels like this one, the likelier first.
func vary(label string) []string {
	var out []string
	if m := trailing().FindStringSubmatch(label); m != nil {
		n, _ := strconv.Atoi(m[2]) // three digits
		for _, next := range []int{n + 1, n - 1, n + 2, n - 2, n + 3} {
			if next >= 0 {
				digits := strconv.Itoa(next)
				out = append(out, m[1]+strings.Repeat("0", max(len(m[2])-len(digits), 0))+digits)
			}
		}
		if base := strings.TrimSuffix(m[1], "-"); base != "" {
			out = append(out, base)
		}
	}
	parts := strings.Split(label, "-")
	for i, part := range parts {
		if len(parts) > 1 && slices.Contains(stages, part) {
			for _, stage := range stages { // api-dev has perhaps an api-prod beside it
				other := slices.Clone(parts)
				other[i] = stage
				out = append(out, strings.Join(other, "-"))
			}
			out = append(out, strings.Join(slices.Delete(slices.Clone(parts), i, i+1), "-"))
		}
	}
	for _, stage := range stages {
		out = append(out, label+"-"+stage, stage+"-"+label)
	}
	for _, stage := range stages[:6] {
		out = append(out, label+stage, stage+"."+label)
	}
	return slices.DeleteFunc(out, func(other string) bool { return other == label })
}

func join(labels []string, parent string) []string {
	out := make([]string, 0, len(labels))
	for _, label := range labels {
		out = append(out, label+"."+parent)
	}
	return out
}

// plausible says that name can be asked for: labels of 1 to 63 bytes, 253 in all (RFC 1035 section 2.3.4), of letters, digits,
// hyphens and underscores.
func plausible(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}
