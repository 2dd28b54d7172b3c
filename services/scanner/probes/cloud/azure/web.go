package azure

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var webKinds = []kind{
	{"Microsoft.Web/sites", readSite},
	{"Microsoft.Web/sites/slots", readSite},
	{"Microsoft.Web/staticSites", readStaticSite},
	{"Microsoft.Network/frontDoors", readFrontDoor},
	{"Microsoft.Cdn/profiles/endpoints", readEndpoint},
	{"Microsoft.Cdn/profiles/afdEndpoints", readEndpoint},
	{"Microsoft.Cdn/profiles/customDomains", readEndpoint},
	{"Microsoft.Network/trafficManagerProfiles", readTraffic},
	{"Microsoft.ApiManagement/service", readAPI},
	{"Microsoft.App/containerApps", readContainerApp},
	{"Microsoft.App/managedEnvironments", readEnvironment},
	{"Microsoft.ContainerInstance/containerGroups", readContainers},
	{"Microsoft.ContainerService/managedClusters", readCluster},
}

// disabled says whether a switch such as publicNetworkAccess is off: absent means on.
func disabled(text string) bool { return strings.EqualFold(text, "Disabled") }

// tls is a protocol in the words of checks: Azure writes "1.2", "TLS1_2", "Tls12", "TLS12", "TLSv1_2". "" for what is none of them.
func tls(text string) string {
	switch digits := strings.Trim(strings.NewReplacer("_", "", ".", "", "v", "").Replace(strings.ToLower(text)), "tls "); digits {
	case "10":
		return cloud.TLS10
	case "11":
		return cloud.TLS11
	case "12":
		return cloud.TLS12
	case "13":
		return cloud.TLS13
	}
	return ""
}

// set notes a setting that is known.
func set(f *modelv1.CloudFact, name, value string) {
	if value != "" {
		f.Settings[name] = value
	}
}

// readGateway reads a gateway of web applications (Microsoft.Network, ApplicationGatewayPropertiesFormat).
func readGateway(s *scan, r *row) error {
	type listener struct {
		ID         string `json:"id"`
		Properties struct {
			Protocol string   `json:"protocol"`
			Name     string   `json:"hostName"`
			Names    []string `json:"hostNames"`
		} `json:"properties"`
	}
	var p struct {
		Fronts    []front    `json:"frontendIPConfigurations"`
		Listeners []listener `json:"httpListeners"`
		Rules     []struct {
			Properties struct {
				Listener ref `json:"httpListener"`
				Redirect ref `json:"redirectConfiguration"`
			} `json:"properties"`
		} `json:"requestRoutingRules"`
		TLS struct {
			Minimum string `json:"minProtocolVersion"`
		} `json:"sslPolicy"`
		Policy   ref `json:"firewallPolicy"`
		Firewall struct {
			Enabled bool `json:"enabled"`
		} `json:"webApplicationFirewallConfiguration"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	b := &balancer{row: r, fronts: publicOf(p.Fronts), listening: len(p.Listeners) > 0, settings: map[string]string{cloud.SettingWebACL: cloud.None}}
	if p.Policy.ID != "" {
		b.settings[cloud.SettingWebACL] = p.Policy.key()
	} else if p.Firewall.Enabled {
		b.settings[cloud.SettingWebACL] = "web application firewall of the gateway"
	}
	if v := tls(p.TLS.Minimum); v != "" {
		b.settings[cloud.SettingMinimumTLS] = v
	}
	redirects := map[string]bool{}
	for _, rule := range p.Rules {
		redirects[rule.Properties.Listener.key()] = rule.Properties.Redirect.ID != ""
	}
	plain := false
	for _, l := range p.Listeners {
		b.names = append(b.names, plainNames(append(l.Properties.Names, l.Properties.Name))...)
		plain = plain || strings.EqualFold(l.Properties.Protocol, "Http") && !redirects[strings.ToLower(l.ID)]
	}
	b.settings[cloud.SettingPlainHTTP] = rest.YesNo(plain)
	s.network.balancers = append(s.network.balancers, b)
	return nil
}

// plainNames leaves out patterns: they are no names to look at.
func plainNames(names []string) []string {
	return rest.Hosts(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.ContainsAny(n, "*?") })...)
}

// readSite reads an application of App Service or Functions, or a slot of one (Microsoft.Web, Site).
func readSite(s *scan, r *row) error {
	var p struct {
		State   string   `json:"state"`
		Default string   `json:"defaultHostName"`
		Names   []string `json:"hostNames"`
		Enabled []string `json:"enabledHostNames"`
		Only    bool     `json:"httpsOnly"`
		Network string   `json:"publicNetworkAccess"`
		// Others use these addresses as well, but records of the account may lead there.
		Shared   string `json:"inboundIpAddress"`
		Possible string `json:"possibleInboundIpAddresses"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = plainNames(append(append([]string{p.Default}, p.Names...), p.Enabled...))
	f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(!p.Only)
	f.Settings[cloud.SettingInstanceProfile] = cmp.Or(r.Identity.Type, cloud.None)
	f.Settings[settingState] = strings.ToLower(p.State)
	s.Held.Add(f.GetHostnames(), append(strings.Split(p.Possible, ","), p.Shared))
	s.later = append(s.later, func(ctx context.Context) error {
		return s.site(ctx, f, !disabled(p.Network) && strings.EqualFold(p.State, "Running"))
	})
	return nil
}

// settingState is whether an application runs, in the provider's words.
const settingState = "state"

// site adds what only the configuration of an application says: the rules of who may reach it.
func (s *scan) site(ctx context.Context, f *modelv1.CloudFact, reachable bool) error {
	body, err := s.session.manage.Get(ctx, s.session.url(f.GetId()+"/config/web", versionWeb))
	var open bool
	if err == nil {
		open, err = siteConfig(body, f)
	}
	if err != nil {
		if err := s.Gap(err, "Microsoft.Web/sites/config/read"); err != nil {
			return err
		}
	} else {
		f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(reachable), rest.YesNo(open)
		if reachable && open {
			f.Public, f.PublicReason = true, "it runs, and its access rules admit the internet"
		}
	}
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// restriction is a rule of App Service (Microsoft.Web, IpSecurityRestriction): the first that fits decides, and where there are rules, who
// fits none is refused unless the default says otherwise.
type restriction struct {
	Address  string `json:"ipAddress"`
	Action   string `json:"action"`
	Priority int    `json:"priority"`
	Tag      string `json:"tag"`
}

// siteConfig reads WebApps_GetConfiguration into a fact, and says whether the rules admit the internet.
func siteConfig(body []byte, f *modelv1.CloudFact) (open bool, err error) {
	var answer struct {
		Properties *struct {
			TLS          string        `json:"minTlsVersion"`
			FTP          string        `json:"ftpsState"`
			Debug        bool          `json:"remoteDebuggingEnabled"`
			Network      string        `json:"publicNetworkAccess"`
			Restrictions []restriction `json:"ipSecurityRestrictions"`
			Default      string        `json:"ipSecurityRestrictionsDefaultAction"`
		} `json:"properties"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Properties == nil {
		return false, rest.Broken("its answer cannot be read")
	}
	p := answer.Properties
	set(f, cloud.SettingMinimumTLS, tls(p.TLS))
	set(f, "ftp", strings.ToLower(p.FTP))
	f.Settings["remote-debugging"] = rest.YesNo(p.Debug)
	if disabled(p.Network) {
		return false, nil
	}
	return admits(p.Restrictions, p.Default), nil
}

// admits says whether rules let the internet in.
func admits(rules []restriction, fallback string) bool {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b restriction) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, r := range rules {
		if r.Tag != "" && !strings.EqualFold(r.Tag, "Default") && !strings.EqualFold(r.Tag, "XffProxy") {
			continue // service tags are the provider's own services
		}
		if rest.World([]string{r.Address}) {
			return strings.EqualFold(r.Action, "Allow")
		}
	}
	return len(rules) == 0 && !strings.EqualFold(fallback, "Deny") || strings.EqualFold(fallback, "Allow")
}

func readStaticSite(s *scan, r *row) error {
	var p struct {
		Default string   `json:"defaultHostname"`
		Custom  []string `json:"customDomains"`
		Network string   `json:"publicNetworkAccess"`
		Shared  string   `json:"stableInboundIP"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	s.Held.Add(nil, []string{p.Shared})
	f.Hostnames = plainNames(append(p.Custom, p.Default))
	open(f, !disabled(p.Network), "a static site answers everybody")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}
