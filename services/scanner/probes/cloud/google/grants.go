package google

import (
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const (
	typeProject  = "cloudresourcemanager.googleapis.com/Project"
	typeBucket   = "storage.googleapis.com/Bucket"
	typeRun      = "run.googleapis.com/Service"
	typeFunction = "cloudfunctions.googleapis.com/CloudFunction"
	typeGen2     = "cloudfunctions.googleapis.com/Function"
)

// publishable are the types whose own policy may name everybody. Those that are read as resources as well take the policy from here; the
// others are told only where it names everybody.
var publishable = []string{
	typeBucket, typeRun, typeFunction, typeGen2, "artifactregistry.googleapis.com/Repository", "pubsub.googleapis.com/Topic",
	"pubsub.googleapis.com/Subscription", "secretmanager.googleapis.com/Secret", "bigquery.googleapis.com/Dataset",
	"cloudkms.googleapis.com/CryptoKey", "compute.googleapis.com/Image", "compute.googleapis.com/Snapshot",
}

// binding gives a role to members (cloud.google.com/iam/docs/reference/rest/v1/Policy).
type binding struct {
	Role      string   `json:"role"`
	Members   []string `json:"members"`
	Condition *struct {
		Expression string `json:"expression"`
	} `json:"condition"`
}

// grants are the roles that everybody has: allUsers, or allAuthenticatedUsers, which is whoever has any account with Google
// (cloud.google.com/iam/docs/principals-overview).
type grants struct {
	kind        string
	roles       []string
	conditional bool
	used        bool // its resource takes it
}

func grantsOf(kind string, bindings []binding) grants {
	g := grants{kind: kind}
	for _, b := range bindings {
		if !slices.Contains(b.Members, "allUsers") && !slices.Contains(b.Members, "allAuthenticatedUsers") {
			continue
		}
		if b.Condition != nil {
			g.conditional = true
			continue
		}
		g.roles = append(g.roles, b.Role)
	}
	return g
}

// policy notes what one resource's policy gives to everybody.
func (s *scan) policy(a *asset) error {
	g := grantsOf(a.Type, a.Policy.Bindings)
	switch {
	case a.Type == typeProject:
		s.project = g
	case len(g.roles) > 0 || g.conditional:
		s.policies[a.Name] = &g
	}
	return nil
}

// everybody are the roles that everybody has on a resource: by its own policy and by that of the project.
func (s *scan) everybody(name string) []string {
	roles := slices.Clone(s.project.roles)
	if g := s.policies[name]; g != nil {
		g.used = true
		roles = append(roles, g.roles...)
	}
	return roles
}

// has says whether one of the roles ends with one of these words: "roles/run.invoker".
func has(roles []string, words ...string) bool {
	return slices.ContainsFunc(roles, func(role string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(role, "roles/"+w) })
	})
}

// shared hands over a resource of which nothing is known but that its policy names everybody.
func (s *scan) shared(name string, g *grants) error {
	if _, read := s.kinds[g.kind]; read || g.used {
		return nil
	}
	f := (&asset{Name: name, Type: g.kind}).fact()
	f.Settings[cloud.SettingPolicy] = cloud.PolicyRestricted
	if len(g.roles) > 0 {
		f.Settings[cloud.SettingPolicy] = cloud.PolicyPublic
		f.Settings[cloud.SettingPolicyActions] = strings.Join(g.roles[:min(len(g.roles), 20)], " ")
		if strings.HasPrefix(g.kind, "compute.") {
			f.Settings[cloud.SettingSharedWith] = cloud.Everybody
		}
	}
	open(f, len(g.roles) > 0, "its policy names everybody")
	return s.Emit(cloud.Resource{Fact: f})
}
