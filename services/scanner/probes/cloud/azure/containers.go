package azure

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

func readContainerApp(s *scan, r *row) error {
	var p struct {
		Configuration struct {
			Ingress struct {
				External bool   `json:"external"`
				Name     string `json:"fqdn"`
				Insecure bool   `json:"allowInsecure"`
				Rules    []struct {
					Range  string `json:"ipAddressRange"`
					Action string `json:"action"`
				} `json:"ipSecurityRestrictions"`
				Custom []struct {
					Name string `json:"name"`
				} `json:"customDomains"`
			} `json:"ingress"`
		} `json:"configuration"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	in, f := p.Configuration.Ingress, r.fact()
	f.Hostnames = rest.Hosts(in.Name)
	for _, c := range in.Custom {
		f.Hostnames = append(f.Hostnames, plainNames([]string{c.Name})...)
	}
	// All rules are of one kind (Microsoft.App, IpSecurityRestrictionRule): those that allow refuse everybody else.
	admits := len(in.Rules) == 0 || strings.EqualFold(in.Rules[0].Action, "Deny")
	for _, rule := range in.Rules {
		admits = admits || rest.World([]string{rule.Range})
	}
	f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(in.Insecure)
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(in.External), rest.YesNo(in.External && admits)
	open(f, in.External && admits, "its ingress is external")
	return s.Emit(cloud.Resource{Fact: f, Names: in.External})
}

// readEnvironment notes the address of an environment of container apps, which records may lead to.
func readEnvironment(s *scan, r *row) error {
	var p struct {
		IP string `json:"staticIp"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	s.Held.Add(nil, []string{p.IP})
	return nil
}

func readContainers(s *scan, r *row) error {
	var p struct {
		Address struct {
			IP    string `json:"ip"`
			Name  string `json:"fqdn"`
			Type  string `json:"type"`
			Ports []struct {
				Protocol string `json:"protocol"`
				Port     uint32 `json:"port"`
			} `json:"ports"`
		} `json:"ipAddress"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f, public := r.fact(), strings.EqualFold(p.Address.Type, "Public")
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(public)
	if !public {
		return s.Emit(cloud.Resource{Fact: f})
	}
	if _, err := netip.ParseAddr(p.Address.IP); err == nil {
		f.Addresses = []string{p.Address.IP}
	}
	f.Hostnames = rest.Hosts(p.Address.Name)
	for _, port := range p.Address.Ports {
		f.Ingress = append(f.Ingress, &modelv1.CloudIngress{
			Protocol: cmp.Or(strings.ToLower(port.Protocol), "tcp"), FromPort: port.Port, ToPort: port.Port, Source: "0.0.0.0/0", Rule: f.GetId(),
		})
	}
	f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(len(f.GetIngress()) > 0)
	open(f, true, "its containers have a public address")
	return s.Emit(cloud.Resource{Fact: f, Dedicated: true, Names: true})
}

func readCluster(s *scan, r *row) error {
	var p struct {
		Version string `json:"kubernetesVersion"`
		Name    string `json:"fqdn"`
		Network string `json:"publicNetworkAccess"`
		Access  struct {
			Private bool     `json:"enablePrivateCluster"`
			Ranges  []string `json:"authorizedIPRanges"`
		} `json:"apiServerAccessProfile"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	public := !p.Access.Private && !disabled(p.Network)
	all := public && (len(p.Access.Ranges) == 0 || rest.World(p.Access.Ranges))
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(public), rest.YesNo(all)
	if p.Version != "" {
		f.Settings[cloud.SettingEngine] = "kubernetes " + p.Version
	}
	if public {
		f.Hostnames = rest.Hosts(p.Name)
	}
	open(f, all, "its API server answers the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}
