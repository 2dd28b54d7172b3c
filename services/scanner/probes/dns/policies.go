package dns

import (
	"context"
	"net/url"
	"path"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// tlsReports reads where reports about failed encryption go (RFC 8460 section 3); nil if that was not answered.
func (s *scan) tlsReports(ctx context.Context) *modelv1.TlsRpt {
	records, err := s.versioned(ctx, "_smtp._tls."+s.name, "v=TLSRPTv1")
	if err != nil {
		s.miss("TLS-RPT", err)
		return nil
	}
	out := &modelv1.TlsRpt{Records: uint32(len(records))}
	if len(records) == 1 {
		out.Rua, out.Error = parseTLSReports(records[0])
	}
	return out
}

// parseTLSReports reads the addresses of one record, and what is wrong with it.
func parseTLSReports(text string) (rua []string, problem string) {
	fields, problem := fieldsOf(text)
	for part := range strings.SplitSeq(fields["rua"], ",") {
		part = strings.TrimSpace(part)
		at, err := url.Parse(part)
		mail := err == nil && at.Scheme == "mailto" && strings.Contains(at.Opaque, "@")
		web := err == nil && at.Scheme == "https" && at.Host != ""
		switch {
		case !mail && !web:
			problem = firstOf(problem, "rua "+clip(part)+" is no address for reports")
		case len(rua) < maxReports:
			rua = append(rua, probes.SafeString(part, 256))
		}
	}
	return rua, probes.SafeString(problem, 256)
}

// bimi reads the domain's logo (draft-brand-indicators-for-message-identification section 4.2); nil if that was not answered.
func (s *scan) bimi(ctx context.Context) *modelv1.Bimi {
	records, err := s.versioned(ctx, "default._bimi."+s.name, "v=BIMI1")
	if err != nil {
		s.miss("BIMI", err)
		return nil
	}
	out := &modelv1.Bimi{Records: uint32(len(records))}
	if len(records) == 1 {
		parseBIMI(records[0], out)
	}
	return out
}

// parseBIMI reads one record. Neither the logo nor the certificate is fetched: only where they are is checked.
func parseBIMI(text string, out *modelv1.Bimi) {
	fields, problem := fieldsOf(text)
	logo, there := fields["l"]
	evidence := fields["a"]
	out.Logo, out.Evidence = probes.SafeString(logo, 256), probes.SafeString(evidence, 256)
	out.Declined = there && logo == "" && evidence == ""
	switch {
	case out.GetDeclined():
	case !there:
		problem = firstOf(problem, "it names no logo (l)")
	case logo != "" && !located(logo, ".svg"):
		problem = firstOf(problem, "the logo (l) is no https address of an SVG file")
	case logo == "":
		problem = firstOf(problem, "a certificate (a) without a logo (l)")
	}
	if evidence != "" && evidence != "self" && !located(evidence, ".pem") {
		problem = firstOf(problem, "the certificate (a) is no https address of a PEM file")
	}
	out.Error = probes.SafeString(problem, 256)
}

// located says whether text is an https address of a file of a kind.
func located(text, ending string) bool {
	at, err := url.Parse(text)
	return err == nil && at.Scheme == "https" && at.Host != "" && at.User == nil && strings.EqualFold(path.Ext(at.Path), ending)
}
