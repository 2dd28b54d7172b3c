package subdomain

import (
	"context"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/providers"
)

// source asks one third party for names below the scan's domain. The report is there also where the error says why there are
// none.
type source func(ctx context.Context, s *scan) ([]string, *modelv1.SourceReport, error)

// sources are the third parties, one line each.
var sources = []source{
	names(providers.CrtShQuestion),
	names(providers.CertSpotterQuestion),
	names(providers.ShodanDomainQuestion),
	names(providers.SecurityTrailsQuestion),
	virusTotal,
}

// names is a source that gives all its names at once.
func names(question func(domain string) providers.Question[*providers.DomainNames]) source {
	return func(ctx context.Context, s *scan) ([]string, *modelv1.SourceReport, error) {
		answer, err := providers.Ask(ctx, s.env.Providers, question(s.domain))
		if err != nil || answer.Value == nil {
			return nil, answer.Report, err
		}
		if answer.Value.More {
			answer.Report.State, answer.Report.Problem = modelv1.SourceReport_STATE_LIMITED, moreNames
		}
		return answer.Value.Names, answer.Report, nil
	}
}

const moreNames = "it knows more names than it was asked for"

// virusTotal gives names in pages, each a request of the quota. What a page has stays, if a later one fails.
func virusTotal(ctx context.Context, s *scan) ([]string, *modelv1.SourceReport, error) {
	var out []string
	var report *modelv1.SourceReport
	cursor := ""
	for page := range s.profile.pages {
		answer, err := providers.Ask(ctx, s.env.Providers, providers.VirusTotalNamesQuestion(s.domain, cursor))
		switch {
		case page == 0 && err != nil:
			return nil, answer.Report, err
		case page == 0:
			report = answer.Report
		case answer.Report.GetState() != modelv1.SourceReport_STATE_OK:
			report.State, report.Problem = modelv1.SourceReport_STATE_LIMITED, answer.Report.GetProblem()
			return out, report, nil
		default:
			report.Requests += answer.Report.GetRequests()
		}
		if answer.Value == nil {
			return out, report, nil
		}
		out = append(out, answer.Value.Names...)
		if cursor = answer.Value.Cursor; cursor == "" {
			return out, report, nil
		}
	}
	report.State, report.Problem = modelv1.SourceReport_STATE_LIMITED, moreNames
	return out, report, nil
}

// clean makes candidates of what a third party says: lower case, without the star of a wildcard certificate, and also the level
// above each, because a name that has names below it may be one.
func clean(names []string, domain string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
		name = strings.TrimPrefix(name, "*.")
		for range maxDepth {
			if !strings.HasSuffix(name, "."+domain) {
				break
			}
			out = append(out, name)
			_, name, _ = strings.Cut(name, ".")
		}
	}
	return out
}
