package http

import (
	"context"
	"fmt"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

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
	found.fill(fact)
	fact.Observatory = graded(v, found)
	location := probes.Location(job.GetTarget())
	observation := probes.NewObservation(job, location, "http:"+v.start.url.EscapedPath())
	observation.Fact = &modelv1.Observation_Http{Http: fact}
	if err := attach(ctx, env, observation, v.own.raw(v.own.body), v.own.truncated, answerExcerpt(v.own)); err != nil {
		return nil, err
	}
	result.Observations = append(result.Observations, observation)
	for _, e := range found.sorted() {
		observation := probes.NewObservation(job, location, "exposure:"+e.fact.GetKind()+":"+e.fact.GetPath())
		observation.Fact = &modelv1.Observation_Exposure{Exposure: e.fact}
		// The excerpt is shown to many: it names the proof and repeats nothing of the file.
		excerpt := fmt.Sprintf("GET %s: %d, %s", e.fact.GetUrl(), e.fact.GetStatus(), e.fact.GetProof())
		body := masked(e.fact.GetKind(), e.answer.body)
		if err := attach(ctx, env, observation, e.answer.raw(body), e.answer.truncated, excerpt); err != nil {
			return nil, err
		}
		result.Observations = append(result.Observations, observation)
	}
	result.Leads = append(result.Leads, lead(job.GetTarget(), fact, found))
	return result, nil
}

// fill writes down what the requests after the first one learned.
func (f *findings) fill(fact *modelv1.HttpFact) {
	fact.RedirectsToHttps = fact.GetRedirectsToHttps() && !f.notAllToTLS
	fact.Cors, fact.TraceEnabled, fact.FaviconHash = f.cors, f.trace, f.icon
	fact.SecurityTxt, fact.SecurityTxtFile = f.securityTxt, f.securityFile
	fact.Methods, fact.Webdav, fact.Screenshot = f.methods, f.webdav, f.screenshot
	if fact.GetDebugPage() == "" {
		fact.DebugPage = f.debugPage
	}
}

// maxTechnologyNames is the limit of Target.technologies.
const maxTechnologyNames = 64

// lead offers the application to the scan types that look for known weaknesses, with what was seen there: they choose by it.
func lead(at *modelv1.Target, fact *modelv1.HttpFact, found *findings) *modelv1.Lead {
	var names []string
	add := func(name string) {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, technology := range fact.GetTechnologies() {
		add(technology.GetName())
	}
	add(fact.GetPanel())
	for _, e := range found.exposures {
		add(e.fact.GetProduct())
	}
	slices.Sort(names)
	return &modelv1.Lead{
		Target: &modelv1.Target{
			Kind: at.GetKind(), Value: at.GetValue(), Host: at.GetHost(), Address: at.GetAddress(), Port: at.GetPort(), Transport: at.GetTransport(),
			Service: "http", Tls: fact.GetTls(), Path: at.GetPath(), Technologies: names[:min(len(names), maxTechnologyNames)],
		},
		ScanTypes: []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_VULN}, Relation: "web application",
	}
}

// attach stores raw as the evidence of an observation. It takes its own excerpt, for that of a whole body would cost more than
// everything else and might repeat a secret.
func attach(ctx context.Context, env probes.Env, to *modelv1.Observation, raw []byte, truncated bool, excerpt string) error {
	if env.Blobs == nil {
		return nil
	}
	evidence, err := env.Blobs.Put(ctx, "http", raw)
	if err != nil {
		return fmt.Errorf("store http evidence: %w", err)
	}
	evidence.Excerpt, evidence.Truncated = probes.SafeString(excerpt, probes.MaxExcerptRunes), truncated
	to.Evidence = evidence
	return nil
}

// raw is an answer as text, as far as net/http kept it: the header block, in the order of names, then body, which is the answer's as
// unfolded, or what of it may be kept.
func (r *reply) raw(body []byte) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "GET %s\r\n\r\n%s %d\r\n", r.url, r.proto, r.status)
	_ = r.header.Write(&out) // a Builder does not fail
	out.WriteString("\r\n")
	out.Write(body)
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
