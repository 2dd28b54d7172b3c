package aws

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/ranges"
)

func TestBucketOf(t *testing.T) {
	for name, want := range map[string]string{
		"assets.s3.amazonaws.com": "assets ", "assets.s3.eu-west-1.amazonaws.com": "assets eu-west-1", "a.b.s3-eu-west-1.amazonaws.com": "a.b eu-west-1",
		"www.example.com.s3-website-us-east-1.amazonaws.com": "www.example.com us-east-1", "x.s3-website.eu-central-1.amazonaws.com": "x eu-central-1",
		"x.s3.cn-north-1.amazonaws.com.cn": "x cn-north-1", "x.s3.dualstack.eu-west-1.amazonaws.com": "x eu-west-1",
		"ap-1-123.s3-accesspoint.eu-west-1.amazonaws.com": "", "s3.amazonaws.com": "", "www.example.com": "", "my-lb-1.eu-west-1.elb.amazonaws.com": "",
		".s3.amazonaws.com": "", "x.s3express-euw1-az1.eu-west-1.amazonaws.com": "",
	} {
		bucket := bucketOf(name)
		got := ""
		if bucket != "" {
			got = bucket + " " + regionOfBucket(name)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSecurityPolicies(t *testing.T) {
	for policy, want := range map[string]string{
		"ELBSecurityPolicy-TLS13-1-2-2021-06": cloud.TLS12, "ELBSecurityPolicy-TLS13-1-3-2021-06": cloud.TLS13, "ELBSecurityPolicy-TLS13-1-0-PQ-2025-09": cloud.TLS10,
		"ELBSecurityPolicy-2016-08": cloud.TLS10, "ELBSecurityPolicy-FS-1-2-Res-2020-10": cloud.TLS12, "ELBSecurityPolicy-TLS-1-1-2017-01": cloud.TLS11,
		"ELBSecurityPolicy-FS-2018-06": cloud.TLS10, "ELBSecurityPolicy-2011-08": cloud.TLSSSL3, "ELBSecurityPolicy-TLS-1-0-2015-04": cloud.TLS10, "own": "", "": "",
	} {
		if got := balancerTLS(policy); got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	for policy, want := range map[string]string{
		"SSLv3": cloud.TLSSSL3, "TLSv1": cloud.TLS10, "TLSv1_2016": cloud.TLS10, "TLSv1.1_2016": cloud.TLS11, "TLSv1.2_2021": cloud.TLS12, "TLSv1.3_2025": cloud.TLS13, "": "",
	} {
		if got := distributionTLS(policy); got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
	for policy, want := range map[string]string{"TLS_1_0": cloud.TLS10, "TLS_1_2": cloud.TLS12, "SecurityPolicy_TLS13_1_3_2025_09": cloud.TLS13, "SecurityPolicy_TLS13_1_2_PQ_2025_09": cloud.TLS12, "": ""} {
		if got := apiTLS(policy); got != want {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
	}
}

// What a record points to is lost only where everything of its kind was read and it is not there.
func TestDangling(t *testing.T) {
	held, lost := netip.MustParseAddr("3.5.140.2"), netip.MustParseAddr("3.5.140.3")
	if ranges.Of(held).Cloud != rangesName {
		t.Fatalf("%s is of %q by the published ranges", held, ranges.Of(held).Cloud)
	}
	full := func(unread ...string) *holdings {
		h := &holdings{
			addresses: map[netip.Addr]bool{held: true}, balancers: map[string]bool{"web-1.eu-west-1.elb.amazonaws.com": true},
			distributions: map[string]bool{"d1.cloudfront.net": true}, buckets: map[string]bool{}, unread: map[string]bool{},
		}
		for _, u := range unread {
			h.unread[u] = true
		}
		return h
	}
	for _, tt := range []struct {
		value string
		h     *holdings
		want  string
	}{
		{held.String(), full(), ""}, {lost.String(), full(), cloud.DanglingAddress}, {lost.String(), full(heldAddresses), ""}, {"198.51.100.7", full(), ""},
		{"web-1.eu-west-1.elb.amazonaws.com", full(), ""}, {"dualstack.web-1.eu-west-1.elb.amazonaws.com", full(), ""},
		{"old-1.eu-west-1.elb.amazonaws.com", full(), cloud.DanglingLoadBalancer}, {"old-1.eu-west-1.elb.amazonaws.com", full(heldBalancers), ""},
		{"n-1.elb.eu-west-1.amazonaws.com", full(), cloud.DanglingLoadBalancer}, {"d1.cloudfront.net", full(), ""}, {"d2.cloudfront.net", full(), cloud.DanglingDistribution},
		{"d2.cloudfront.net", full(heldDistributions), ""}, {"somebody.example.net", full(), ""}, {"", full(), ""},
	} {
		if got, _ := tt.h.dangling(record{name: "www.example.com", values: []string{tt.value}}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.value, got, tt.want)
		}
	}
}

// Of several values the places that others may hold are named, unless one is certainly idle.
func TestLostPlaces(t *testing.T) {
	idle, lost := netip.MustParseAddr("3.5.140.2"), "3.5.140.3"
	h := &holdings{addresses: map[netip.Addr]bool{idle: true}, idle: map[netip.Addr]bool{idle: true}, unread: map[string]bool{}}
	why, places := h.dangling(record{values: []string{"198.51.100.7", lost, "dualstack.old-1.eu-west-1.elb.amazonaws.com"}})
	if why != cloud.DanglingAddress || !slices.Equal(places, []string{lost, "old-1.eu-west-1.elb.amazonaws.com"}) {
		t.Errorf("%s %v", why, places)
	}
	if why, places = h.dangling(record{values: []string{lost, idle.String()}}); why != cloud.DanglingIdleAddress || places != nil {
		t.Errorf("%s %v", why, places)
	}
}
