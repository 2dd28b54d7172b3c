package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/riskprofiler/riskprofiler/platform/together"
)

// maxTalks bounds the connections to one port at a time: so many that a service which stays silent to every question has
// been asked all of them within the budget. Greeting and web take one step, the 19 protocols that may be anywhere two.
const maxTalks = 10

// survey finds out what speaks on the port, in clear text or inside TLS. Its exchanges run side by side:
//
//   - one waits for a greeting;
//   - those of the protocols that are usual on the port start at once;
//   - TLS and HTTP start at once on ports of the web, else after a short grace, when no greeting came;
//   - protocols that may be anywhere follow, where nothing else answered and the scan is thorough.
//
// The first answer that tells what it is ends the others. It belongs to one goroutine.
type survey struct {
	prober *prober
	secure bool

	ctx     context.Context // of the exchanges
	cancel  context.CancelFunc
	results chan result
	greeted chan struct{} // closed when a greeting begins
	group   together.Group

	running  int  // exchanges under way, the greeting's not counted
	waiting  bool // for a greeting
	shut     bool // the service hung up at once, without a word
	asked    map[string]bool
	queue    []protocol // not started yet
	fallback found
	errs     []error
}

// result is how one exchange ended; panicked holds what a mistake of ours met.
type result struct {
	found
	greeting bool
	panicked string
}

// survey surveys the port; first is the connection that listens for a greeting, and is closed here.
func (p *prober) survey(ctx context.Context, secure bool, first net.Conn) (found, error) {
	s := &survey{prober: p, secure: secure, results: make(chan result), greeted: make(chan struct{}), asked: make(map[string]bool)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	defer func() {
		s.cancel()
		go func() { s.group.Wait(); close(s.results) }()
		for range s.results { // those that were cut off
		}
	}()
	s.listen(first)
	for _, expected := range protocols() {
		if expected.usualOn(p.port) {
			s.ask(expected)
		}
	}
	if speaksWeb(p.port) {
		s.askWeb()
	}
	return s.decide()
}

// decide takes results until one tells what speaks, or nothing is left to ask.
func (s *survey) decide() (found, error) {
	grace := time.NewTimer(s.prober.patience.grace)
	defer grace.Stop()
	greeted := s.greeted
	for s.waiting || s.running > 0 {
		select {
		case r := <-s.results:
			if r.panicked != "" {
				return found{}, &mistakeError{port: s.prober.port, what: r.panicked}
			}
			if s.conclude(r) {
				return r.found, nil
			}
		case <-grace.C:
			s.askWeb()
		case <-greeted:
			greeted = nil
			grace.Stop() // it speaks first: what it says is worth waiting for
		}
		s.goOn()
	}
	s.fallback.shut = s.shut
	return s.fallback, s.dialError()
}

// mistakeError is a panic of this probe, met while a service was looked at.
type mistakeError struct {
	port uint16
	what string
}

// mistakeText says what panicked, and where.
func mistakeText(mistake any) string { return fmt.Sprintf("panic: %v at %s", mistake, debug.Stack()) }

func (e *mistakeError) Error() string { return fmt.Sprintf("look at port %d: %s", e.port, e.what) }

// conclude notes a result, and says whether it ends the survey.
func (s *survey) conclude(r result) bool {
	if r.greeting {
		s.waiting, s.shut = false, r.shut
	} else {
		s.running--
	}
	if r.err != nil {
		s.errs = append(s.errs, r.err)
	}
	if r.fact != nil && !r.weak {
		return true
	}
	if r.fact != nil && (s.fallback.fact == nil || s.fallback.fact.GetName() == unknown) {
		s.fallback = r.found
	}
	if r.hint == "http" {
		s.askWeb()
	}
	for _, hinted := range protocols() {
		if hinted.name == r.hint {
			s.ask(hinted)
		}
	}
	return false
}

// goOn starts what comes next, where nothing but a greeting is waited for.
func (s *survey) goOn() {
	select {
	case <-s.greeted:
		if s.waiting {
			return
		}
	default:
	}
	if s.running == 0 && s.fallback.fact == nil {
		if !s.asked["http"] {
			s.askWeb()
		} else if s.queue == nil && s.prober.thorough && !s.shut {
			s.queue = slices.DeleteFunc(slices.Clone(protocols()), func(p protocol) bool { return !p.anywhere || s.asked[p.name] })
		}
	}
	for len(s.queue) > 0 && s.running < maxTalks && s.ctx.Err() == nil {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.ask(next)
	}
}

// dialError is the first reason why a connection was not made.
func (s *survey) dialError() error {
	if len(s.errs) == 0 {
		return nil
	}
	return s.errs[0]
}

// listen waits for a greeting on the connection that is open already.
func (s *survey) listen(first net.Conn) {
	s.waiting = true
	s.start(true, func(ctx context.Context) found {
		l := newLine(ctx, first, s.prober.patience)
		defer l.close()
		t := &talk{line: l, prober: s.prober, secure: s.secure}
		seen, began := false, time.Now()
		l.gather(l.patience.banner, func(rest []byte) bool {
			if len(rest) > 0 && !seen {
				seen = true
				close(s.greeted)
			}
			return greetingComplete(rest)
		})
		if len(l.raw) == 0 {
			return found{shut: l.err != nil && time.Since(began) < s.prober.patience.grace}
		}
		if mayGoOn(l.raw) {
			l.collect()
		}
		if fact := greet(t); fact != nil {
			return t.found(fact)
		}
		f := t.found(named(unknown))
		f.weak = !t.crawls
		return f
	})
}

// ask starts the exchange of a protocol, once.
func (s *survey) ask(p protocol) {
	if s.asked[p.name] || s.secure && p.clearOnly || s.ctx.Err() != nil || printsWhatItHears(s.prober.port) {
		return
	}
	s.asked[p.name] = true
	s.running++
	s.start(false, func(ctx context.Context) found {
		l, err := s.prober.open(ctx, s.secure)
		if err != nil {
			return found{err: err}
		}
		defer l.close()
		t := &talk{line: l, prober: s.prober, secure: s.secure}
		return t.found(p.speak(t))
	})
}

// askWeb starts the HTTP exchange, and in clear text the one of TLS, whose inside is surveyed in turn.
func (s *survey) askWeb() {
	if s.asked["http"] {
		return
	}
	s.ask(protocol{name: "http", speak: web})
	if s.secure || !s.asked["http"] {
		return
	}
	s.running++
	s.start(false, s.insideTLS)
}

// unknown is the name of a service that could not be told.
const unknown = "unknown"

// insideTLS surveys what speaks inside TLS.
func (s *survey) insideTLS(ctx context.Context) found {
	conn, spoke, err := s.prober.dialTLS(ctx)
	if err != nil {
		if !spoke {
			return found{}
		}
		// TLS it is, though not with us: no common version, or it wants a name or a certificate.
		fact := named(unknown)
		fact.Tls = true
		detail(fact, "tls.error", err.Error())
		return found{fact: fact}
	}
	inside, err := s.prober.survey(ctx, true, conn)
	if mistake := (*mistakeError)(nil); errors.As(err, &mistake) {
		panic(mistake.what) // becomes the result of this exchange
	}
	if inside.fact == nil {
		inside.fact = named(unknown)
	}
	inside.fact.Tls, inside.weak = true, false
	return inside
}

// start runs one exchange. A panic is a mistake of ours that must not end the process: it becomes the result.
func (s *survey) start(greeting bool, exchange func(ctx context.Context) found) {
	s.group.Go(func() {
		r := result{greeting: greeting}
		defer func() {
			if mistake := recover(); mistake != nil {
				r.panicked = mistakeText(mistake)
			}
			s.results <- r
		}()
		r.found = exchange(s.ctx)
	})
}
