package vuln

import (
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// maxTags bounds the tags that one run is told: a target chooses what technologies it shows.
const maxTags = 40

// Tags of the public templates (github.com/projectdiscovery/nuclei-templates): what is worth testing on every application, by
// profile. A run tests what has one of the tags.
var (
	quickTags    = []string{"kev"}
	standardTags = []string{"kev", "exposure", "misconfig"}
	deepTags     = []string{"kev", "exposure", "misconfig", "cve", "panel", "token"}
)

// Tags that are never run, and those that are only where the authorisation is intrusive. Denial of service is never a test.
var (
	neverTags     = []string{"dos"}
	intrusiveTags = []string{"intrusive", "fuzz", "fuzzing", "dast", "brute-force", "bruteforce", "default-login", "creds-stuffing", "oast"}
)

// tagOf is how the public templates call a technology that is named otherwise elsewhere.
var tagOf = map[string]string{
	"apache http server": "apache", "apache tomcat": "tomcat", "apache struts": "struts", "apache solr": "solr", "microsoft iis": "iis",
	"microsoft asp.net": "aspnet", "asp.net": "aspnet", "microsoft exchange server": "exchange", "microsoft sharepoint": "sharepoint",
	"atlassian confluence": "confluence", "atlassian jira": "jira", "atlassian bitbucket": "bitbucket", "adobe coldfusion": "coldfusion",
	"oracle weblogic server": "weblogic", "adobe experience manager": "aem", "vmware vcenter": "vcenter", "spring boot": "springboot",
	"node.js": "nodejs", "ruby on rails": "rails", "citrix netscaler": "citrix", "f5 big-ip": "bigip", "fortinet fortigate": "fortinet",
}

// genericTags would choose a large part of all templates by a word that says little.
var genericTags = []string{"http", "https", "web", "tech", "cve", "jquery", "bootstrap", "hsts", "cdn", "http-3", "http3"}

// tags are what a run tests for: by profile, and by what was seen at the target.
func tags(job *modelv1.ScanJob) []string {
	list := standardTags
	switch job.GetOptions().GetProfile() {
	case modelv1.Profile_PROFILE_QUICK:
		list = quickTags
	case modelv1.Profile_PROFILE_DEEP:
		list = deepTags
	}
	out := slices.Clone(list)
	for _, seen := range append(slices.Clone(job.GetTarget().GetTechnologies()), job.GetTarget().GetService()) {
		tag := technologyTag(seen)
		if tag != "" && len(out) < maxTags && !slices.Contains(out, tag) && !slices.Contains(genericTags, tag) &&
			!slices.Contains(neverTags, tag) && !slices.Contains(intrusiveTags, tag) {
			out = append(out, tag)
		}
	}
	return out
}

// technologyTag makes a tag of a name that a target may have chosen: a-z, 0-9 and hyphens, no more than 32; empty for others.
func technologyTag(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if known := tagOf[name]; known != "" {
		return known
	}
	name, _, _ = strings.Cut(name, ":") // "nginx:1.18"
	name = strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ".", "")
	if name == "" || len(name) > 32 || name[0] == '-' || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return ""
	}
	return name
}

// excluded are the tags that a run leaves out.
func excluded(job *modelv1.ScanJob) []string {
	if intrusive(job) {
		return neverTags
	}
	return append(slices.Clone(neverTags), intrusiveTags...)
}

// intrusive says whether the target's authorisation permits what may disturb.
func intrusive(job *modelv1.ScanJob) bool {
	return job.GetOptions().GetClearance() == modelv1.Clearance_CLEARANCE_INTRUSIVE
}
