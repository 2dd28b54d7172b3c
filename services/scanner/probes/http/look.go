package http

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	nethttp "net/http"
	"net/url"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// findings is what the requests after the first one learned. Several of them write at once.
type findings struct {
	mu          sync.Mutex
	cors        *modelv1.CorsFact
	askedCORS   bool
	trace       bool
	icon        int32
	securityTxt bool
	// securityFile is what security.txt says.
	securityFile *modelv1.SecurityTxt
	methods      []string
	webdav       bool
	screenshot   *modelv1.Screenshot
	// notAllToTLS says that a path was seen which is not led to https.
	notAllToTLS bool
	debugPage   string
	exposures   []exposed
	// missed says what could not be asked, empty if nothing.
	missed string
	// refusals counts answers in a row that say the scanner is too much.
	refusals int
}

// exposed is a confirmed exposure with the answer that proves it.
type exposed struct {
	fact   *modelv1.ExposureFact
	answer *reply
}

// maxRefusals is after how many answers in a row of "too many requests" or nothing at all the scan stops asking.
const maxRefusals = 3

// lookQuickly asks for what no check may be wrong about: the absence of security.txt is a finding, so it is asked for where
// that finding could come up, and nowhere else.
func (s *site) lookQuickly(ctx context.Context, v *visit, found *findings) {
	if v.own.url.Scheme == "https" && v.own.status == nethttp.StatusOK && v.own.isHTML() {
		s.securityTxt(ctx, v, found)
	}
	found.front(v.own)
	found.miss("quick profile: exposed files, CORS, methods and the favicon were not looked at")
}

// lookAround sends all requests of the standard and deep profiles.
func (s *site) lookAround(ctx context.Context, v *visit, found *findings, list []place) {
	p := v.own.page()
	s.missing(ctx, v, found)
	found.front(v.own)
	tasks := []func(){
		func() { s.foreign(ctx, v, found) },
		func() { s.traced(ctx, v, found) },
		func() { s.options(ctx, v, found) },
		func() { s.favicon(ctx, v, p, found) },
		func() { s.securityTxt(ctx, v, found) },
	}
	if !v.toTLS || found.notAllToTLS {
		list = append(list, folders(p.paths, list)...)
		for _, one := range list {
			tasks = append(tasks, func() { s.expose(ctx, v, one, found) })
		}
	}
	run(ctx, found, tasks)
}

// run runs the tasks, at most parallel at a time, until the site has had enough, and waits for them.
func run(ctx context.Context, found *findings, tasks []func()) {
	all := together.Limit(parallel)
	for _, task := range tasks {
		all.Go(func() {
			if !found.enough(ctx) {
				task()
			}
		})
	}
	all.Wait()
}

// get fetches a path of the start's origin. nil means that there was no answer, which is noted.
func (s *site) get(ctx context.Context, found *findings, a ask) *reply {
	if found.enough(ctx) {
		return nil
	}
	answer, err := s.fetch(ctx, a)
	found.mu.Lock()
	defer found.mu.Unlock()
	switch {
	case err != nil:
		found.refusals++
		found.missLocked(fmt.Sprintf("%s could not be asked for: %s", a.url.Path, s.unreachable(err).Reason))
		return nil
	case answer.busy:
		found.refusals++
		if answer.pause > longestPause {
			found.refusals = maxRefusals
		}
		found.missLocked(fmt.Sprintf("%s was answered with %d", a.url.Path, answer.status))
		return nil
	}
	found.refusals = 0
	return answer
}

// enough says that the scan should not ask any more.
func (f *findings) enough(ctx context.Context) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		f.missLocked("the scan's time was over")
		return true
	}
	return f.refusals >= maxRefusals
}

func (f *findings) miss(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missLocked(what)
}

func (f *findings) missLocked(what string) {
	if f.missed == "" {
		f.missed = what
	}
}

// at is the address of a path, with its query, of the origin that the facts are about.
func (s *site) at(v *visit, path string) *url.URL {
	out := s.origin(v.start.url.Scheme)
	out.Path, out.RawQuery, _ = strings.Cut(path, "?")
	return out
}

// missing asks for a path that cannot exist. It shows whether a redirect to https is for every path, and often a debug page.
func (s *site) missing(ctx context.Context, v *visit, found *findings) {
	answer := s.get(ctx, found, ask{url: s.at(v, "/"+token()), limit: maxSignature})
	if answer == nil {
		return
	}
	next, _ := target(answer)
	found.notAllToTLS = next == nil || next.Scheme != "https"
	found.debugPage = recognise(pagesOf().Debug, answer, "")
}

// favicon asks for the icon that the page names, or the one that browsers ask for by themselves.
func (s *site) favicon(ctx context.Context, v *visit, p *page, found *findings) {
	at := s.at(v, "/favicon.ico")
	if named, err := v.own.url.Parse(p.icon); err == nil && p.icon != "" && sameOrigin(named, v.own.url) {
		at = named
	}
	if answer := s.get(ctx, found, ask{url: at, limit: maxIcon}); answer != nil {
		found.mu.Lock()
		found.icon = iconHash(answer)
		found.mu.Unlock()
	}
}

// token is a random path segment or header value.
func token() string {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(raw[:])
}
