package aws

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/policy"
)

// parallelItems is how many resources of one listing are asked about at a time.
const parallelItems = 6

// each does the same for every item, several at a time.
func each[T any](items []T, do func(T)) {
	all := together.Limit(parallelItems)
	for _, item := range items {
		all.Go(func() { do(item) })
	}
	all.Wait()
}

func stamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil || t.IsZero() {
		return nil
	}
	return timestamppb.New(*t)
}

func orNone(text string) string {
	if text == "" {
		return cloud.None
	}
	return text
}

// byPolicy files a resource whose own policy lets anybody in. One whose policy does not is nothing that the outside sees.
func (r *regional) byPolicy(kind, id, name, text string, p place) {
	v, err := policy.Judge(text)
	if err != nil {
		r.gap(cloud.Gap{API: p.api, Region: p.region, Why: failedGap, Detail: err.Error()})
		return
	}
	if v.State != cloud.PolicyPublic {
		return
	}
	f := r.fact(kind, id, name)
	v.Fill(f.Settings)
	f.Public, f.PublicReason = true, publicPolicy(v)
	r.add(cloud.Resource{Fact: f})
}

func publicPolicy(v policy.Verdict) string {
	const shown = 3
	text := "its policy lets anybody do "
	for i, a := range v.Actions {
		switch {
		case i == shown:
			return text + " and more"
		case i > 0:
			text += ", "
		}
		text += a
	}
	return text
}

// reachable judges what has an address of the internet if a switch says so, and is open to it if its security groups do.
func (r *regional) reachable(f *modelv1.CloudFact, accessible bool, groups []string) {
	f.Settings[cloud.SettingPubliclyAccessible] = yes(accessible)
	open := r.judgeOpen(f, groups)
	if !accessible {
		f.Ingress = nil
		return
	}
	if f.Public = open; open {
		f.PublicReason = "it is publicly accessible, and its security groups admit the internet to " + rules(f.GetIngress())
	}
}
