package google

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var webKinds = []kind{
	{typeRun, readRun},
	{typeFunction, readFunction},
	{typeGen2, readFunction},
	{"appengine.googleapis.com/Application", readApplication},
	{"apigateway.googleapis.com/Gateway", readAPIGateway},
	{"container.googleapis.com/Cluster", readCluster},
}

// readRun reads a service of Cloud Run, in the shape of run v1 (Knative) or run v2: the inventory gives either.
func readRun(s *scan, a *asset) error {
	var p struct {
		Ingress  string   `json:"ingress"`
		URI      string   `json:"uri"`
		URLs     []string `json:"urls"`
		Open     bool     `json:"invokerIamDisabled"`
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
		Status struct {
			URL string `json:"url"`
		} `json:"status"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f, notes := a.fact(), p.Metadata.Annotations
	var listed []string
	_ = json.Unmarshal([]byte(notes["run.googleapis.com/urls"]), &listed) // a list in a text; what is none adds nothing
	f.Hostnames = rest.Hosts(append(append(p.URLs, listed...), p.URI, p.Status.URL)...)
	reachable := p.Ingress == "INGRESS_TRAFFIC_ALL" || p.Ingress == "" && (notes["run.googleapis.com/ingress"] == "" || notes["run.googleapis.com/ingress"] == "all")
	anybody := p.Open || notes["run.googleapis.com/invoker-iam-disabled"] == "true" || has(s.everybody(a.Name), "run.invoker", "run.admin", "run.developer", "owner", "editor")
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(reachable)
	s.authorizer(f.GetSettings(), anybody)
	open(f, reachable && anybody, "its ingress takes all traffic, and everybody may call it")
	return s.Emit(cloud.Resource{Fact: f, Names: reachable})
}

// authorizer notes who may call. Without policies only that everybody may is known.
func (s *scan) authorizer(settings map[string]string, anybody bool) {
	switch {
	case anybody:
		settings[cloud.SettingAuthorizer] = cloud.None
	case s.granted:
		settings[cloud.SettingAuthorizer] = "IAM"
	}
}

// readFunction reads a function of either generation (cloudfunctions v1 and v2).
func readFunction(s *scan, a *asset) error {
	var p struct {
		Runtime string `json:"runtime"`
		Ingress string `json:"ingressSettings"`
		URL     string `json:"url"`
		HTTPS   *struct {
			URL   string `json:"url"`
			Level string `json:"securityLevel"`
		} `json:"httpsTrigger"`
		Service *struct {
			URI     string `json:"uri"`
			Ingress string `json:"ingressSettings"`
		} `json:"serviceConfig"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f, ingress := a.fact(), p.Ingress
	texts := []string{p.URL}
	if p.HTTPS != nil {
		texts = append(texts, p.HTTPS.URL)
		f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(p.HTTPS.Level == "SECURE_OPTIONAL")
	}
	if p.Service != nil {
		texts, ingress = append(texts, p.Service.URI), p.Service.Ingress
	}
	names := rest.Hosts(texts...)
	if strings.HasPrefix(ingress, "ALLOW_INTERNAL") {
		s.Held.Add(names, nil)
		f.Settings[cloud.SettingPubliclyAccessible] = cloud.No
		return s.Emit(cloud.Resource{Fact: f})
	}
	f.Hostnames = names
	anybody := has(s.everybody(a.Name), "cloudfunctions.invoker", "run.invoker", "cloudfunctions.admin", "cloudfunctions.developer", "owner", "editor")
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(len(names) > 0)
	s.authorizer(f.GetSettings(), anybody)
	open(f, len(names) > 0 && anybody, "its ingress takes all traffic, and everybody may call it")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// readApplication reads App Engine (appengine v1, apps).
func readApplication(s *scan, a *asset) error {
	var p struct {
		Name   string `json:"defaultHostname"`
		Status string `json:"servingStatus"`
		Proxy  struct {
			Enabled bool `json:"enabled"`
		} `json:"iap"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f, serving := a.fact(), p.Status == "SERVING"
	f.Hostnames = rest.Hosts(p.Name)
	if p.Proxy.Enabled { // without it a web site is what it is for: that is no open interface
		f.Settings[cloud.SettingAuthorizer] = "IAP"
	}
	open(f, serving && !p.Proxy.Enabled, "App Engine answers everybody")
	return s.Emit(cloud.Resource{Fact: f, Names: serving})
}

func readAPIGateway(s *scan, a *asset) error {
	var p struct {
		Name string `json:"defaultHostname"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f := a.fact()
	f.Hostnames = rest.Hosts(p.Name)
	open(f, true, "its gateway is on the internet")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// readCluster reads a cluster of Kubernetes Engine (container v1, clusters). Its API server has an address, a name that goes through
// Google's front end, or both.
func readCluster(s *scan, a *asset) error {
	type blocks struct {
		Enabled bool `json:"enabled"`
		Ranges  []struct {
			Range string `json:"cidrBlock"`
		} `json:"cidrBlocks"`
	}
	var p struct {
		Version  string `json:"currentMasterVersion"`
		Endpoint string `json:"endpoint"`
		Fence    blocks `json:"masterAuthorizedNetworksConfig"`
		Private  struct {
			Only bool `json:"enablePrivateEndpoint"`
		} `json:"privateClusterConfig"`
		Control struct {
			IP *struct {
				Public *bool   `json:"enablePublicEndpoint"`
				At     string  `json:"publicEndpoint"`
				Fence  *blocks `json:"authorizedNetworksConfig"`
			} `json:"ipEndpointsConfig"`
			DNS struct {
				Name string `json:"endpoint"`
				Open bool   `json:"allowExternalTraffic"`
			} `json:"dnsEndpointConfig"`
		} `json:"controlPlaneEndpointsConfig"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f, at, public, fence := a.fact(), p.Endpoint, !p.Private.Only, p.Fence
	if ip := p.Control.IP; ip != nil && ip.Public != nil {
		public = *ip.Public
		if ip.At != "" {
			at = ip.At
		}
		if ip.Fence != nil {
			fence = *ip.Fence
		}
	}
	var space rest.Space
	for _, r := range fence.Ranges {
		space.Add(r.Range)
	}
	all := public && (!fence.Enabled || space.World())
	if addr, err := netip.ParseAddr(at); err == nil && public && !addr.IsPrivate() {
		f.Addresses = []string{at}
	}
	if p.Control.DNS.Open {
		f.Hostnames = rest.Hosts(p.Control.DNS.Name)
	}
	if p.Version != "" {
		f.Settings[cloud.SettingEngine] = "kubernetes " + p.Version
	}
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(public || p.Control.DNS.Open)
	f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(all)
	open(f, all, "its API server answers the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Dedicated: true, Names: p.Control.DNS.Open})
}
