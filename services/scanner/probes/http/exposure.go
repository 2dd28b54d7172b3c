package http

import (
	"context"
	"fmt"
	nethttp "net/http"
	pathname "path"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// maxExposed is how much of an exposed file is read: enough to prove it, and to keep as evidence, without taking it.
const maxExposed = 32 << 10

// expose asks for one path and confirms what it finds. Two things must hold: the content is what the path's name says, and the
// application does not say the same to a path of the same kind that cannot exist.
func (s *site) expose(ctx context.Context, v *visit, one path, found *findings) {
	at := s.at(v, one.path)
	answer := s.get(ctx, found, ask{url: at, limit: maxExposed})
	if answer == nil || answer.status != nethttp.StatusOK {
		return
	}
	proof := one.proof(string(answer.body))
	if proof == "" {
		return
	}
	control := s.get(ctx, found, ask{url: s.at(v, controlOf(one.path)), limit: maxExposed})
	if control == nil || (control.status == nethttp.StatusOK && one.proof(string(control.body)) != "") {
		return // not confirmed, or a catch-all answer
	}
	found.expose(answer, one.path, one.kind, proof)
}

// controlOf is a path like the given one, in the same directory and with the same ending, that cannot exist.
func controlOf(exposed string) string {
	directory, file := pathname.Split(strings.TrimSuffix(exposed, "/"))
	name := token()
	if strings.HasPrefix(file, ".") {
		name = "." + name
	}
	if end := pathname.Ext(strings.TrimPrefix(file, ".")); end != "" {
		name += end
	} else if strings.HasSuffix(exposed, "/") {
		name += "/"
	}
	return directory + name
}

// listing notes that the page itself is a directory listing. It needs no control: the page was asked for because it is there.
func (f *findings) listing(own *reply) {
	if own.status != nethttp.StatusOK {
		return
	}
	if proof := directoryListing(string(own.body[:min(len(own.body), maxExposed)])); proof != "" {
		f.expose(own, probes.SafeString(own.url.Path, maxURLText), "directory-listing", proof)
	}
}

func (f *findings) expose(answer *reply, path, kind, proof string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.exposures = append(f.exposures, exposed{
		fact: &modelv1.ExposureFact{
			Url: answer.url.String(), Path: path, Kind: kind, Status: uint32(answer.status), Proof: proof,
		},
		answer: answer,
	})
}

// report writes down what the scan found, each observation with the answer it was read from.
func (p *Probe) report(
	ctx context.Context, env probes.Env, job *modelv1.ScanJob, s *site, v *visit, found *findings,
) (*probes.Result, error) {
	result := &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE, Reason: found.missed}
	if v.broken != nil {
		result.Reason = "a redirect could not be followed: " + s.unreachable(v.broken).Reason
	}
	if s.slow.Load() {
		result.Reason = errSlow.Error()
	}
	if result.Reason != "" {
		result.Outcome = modelv1.Outcome_OUTCOME_PARTIAL
	}
	fact := s.factOf(v)
	fact.RedirectsToHttps = fact.GetRedirectsToHttps() && !found.notAllToTLS
	fact.Cors, fact.TraceEnabled, fact.FaviconHash, fact.SecurityTxt = found.cors, found.trace, found.icon, found.securityTxt
	if fact.GetDebugPage() == "" {
		fact.DebugPage = found.debugPage
	}
	fact.Observatory = graded(v, found)
	location := probes.Location(job.GetTarget())
	observation := probes.NewObservation(job, location, "http:"+v.start.url.EscapedPath())
	observation.Fact = &modelv1.Observation_Http{Http: fact}
	if err := attach(ctx, env, observation, v.own, answerExcerpt(v.own)); err != nil {
		return nil, err
	}
	result.Observations = append(result.Observations, observation)
	slices.SortFunc(found.exposures, func(a, b exposed) int { return strings.Compare(a.fact.GetPath(), b.fact.GetPath()) })
	for _, e := range found.exposures {
		observation := probes.NewObservation(job, location, "exposure:"+e.fact.GetKind()+":"+e.fact.GetPath())
		observation.Fact = &modelv1.Observation_Exposure{Exposure: e.fact}
		// The excerpt is shown to many: it names the proof and repeats nothing of the file.
		if err := attach(ctx, env, observation, e.answer, fmt.Sprintf("GET %s: %d, %s", e.fact.GetUrl(), e.fact.GetStatus(), e.fact.GetProof())); err != nil {
			return nil, err
		}
		result.Observations = append(result.Observations, observation)
	}
	return result, nil
}

// attach stores an answer as the evidence of an observation. It writes its own excerpt, for that of a whole body would cost more
// than everything else and might repeat a secret.
func attach(ctx context.Context, env probes.Env, to *modelv1.Observation, answer *reply, excerpt string) error {
	if env.Blobs == nil {
		return nil
	}
	evidence, err := env.Blobs.Put(ctx, "http", answer.raw())
	if err != nil {
		return fmt.Errorf("store http evidence: %w", err)
	}
	evidence.Excerpt, evidence.Truncated = probes.SafeString(excerpt, probes.MaxExcerptRunes), answer.truncated
	to.Evidence = evidence
	return nil
}

// raw is an answer as text, as far as net/http kept it: the header block, in the order of names, then the body as unfolded.
func (r *reply) raw() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "GET %s\r\n\r\n%s %d\r\n", r.url, r.proto, r.status)
	_ = r.header.Write(&out) // a Builder does not fail
	out.WriteString("\r\n")
	out.Write(r.body)
	return []byte(out.String())
}

// answerExcerpt is the head of an answer, without cookies.
func answerExcerpt(r *reply) string {
	kept := r.header.Clone()
	kept.Del("Set-Cookie")
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s %d; ", r.url, r.proto, r.status)
	_ = kept.Write(&out)
	return out.String()
}
