package azure

import (
	"encoding/json"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// readFrontDoor reads a Front Door of the classic kind.
func readFrontDoor(s *scan, r *row) error {
	var p struct {
		State     string `json:"enabledState"`
		Frontends []struct {
			Properties struct {
				Name   string `json:"hostName"`
				Policy ref    `json:"webApplicationFirewallPolicyLink"`
				HTTPS  struct {
					TLS string `json:"minimumTlsVersion"`
				} `json:"customHttpsConfiguration"`
			} `json:"properties"`
		} `json:"frontendEndpoints"`
		Pools []struct {
			Properties struct {
				Backends []struct {
					Address string `json:"address"`
				} `json:"backends"`
			} `json:"properties"`
		} `json:"backendPools"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Settings[cloud.SettingWebACL] = cloud.None
	for _, e := range p.Frontends {
		f.Hostnames = append(f.Hostnames, plainNames([]string{e.Properties.Name})...)
		set(f, cloud.SettingWebACL, e.Properties.Policy.key())
		if v := tls(e.Properties.HTTPS.TLS); v != "" && (f.GetSettings()[cloud.SettingMinimumTLS] == "" || v < f.GetSettings()[cloud.SettingMinimumTLS]) {
			f.Settings[cloud.SettingMinimumTLS] = v
		}
	}
	for _, pool := range p.Pools {
		for _, b := range pool.Properties.Backends {
			f.PointsTo = append(f.PointsTo, rest.Hosts(b.Address)...)
		}
	}
	open(f, !disabled(p.State), "a content network answers everybody")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// readEndpoint reads an endpoint of Front Door or of the older content network, or a name of the owner's before one.
func readEndpoint(s *scan, r *row) error {
	var p struct {
		Name    string `json:"hostName"`
		State   string `json:"enabledState"`
		Plain   *bool  `json:"isHttpAllowed"`
		Origins []struct {
			Properties struct {
				Name string `json:"hostName"`
			} `json:"properties"`
		} `json:"origins"`
		TLS struct {
			Minimum string `json:"minimumTlsVersion"`
		} `json:"tlsSettings"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = plainNames([]string{p.Name})
	if p.Plain != nil {
		f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(*p.Plain)
	}
	set(f, cloud.SettingMinimumTLS, tls(p.TLS.Minimum))
	for _, o := range p.Origins {
		f.PointsTo = append(f.PointsTo, rest.Hosts(o.Properties.Name)...)
	}
	open(f, !disabled(p.State), "a content network answers everybody")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

func readTraffic(s *scan, r *row) error {
	var p struct {
		Status string `json:"profileStatus"`
		DNS    struct {
			Name string `json:"fqdn"`
		} `json:"dnsConfig"`
		Endpoints []struct {
			Properties struct {
				Target string `json:"target"`
			} `json:"properties"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.DNS.Name)
	for _, e := range p.Endpoints {
		f.PointsTo = append(f.PointsTo, rest.Hosts(e.Properties.Target)...)
	}
	open(f, !disabled(p.Status), "its name is answered for everybody")
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

func readAPI(s *scan, r *row) error {
	var p struct {
		Gateway string `json:"gatewayUrl"`
		Portal  string `json:"developerPortalUrl"`
		Manage  string `json:"managementApiUrl"`
		Repo    string `json:"scmUrl"`
		Names   []struct {
			Name string `json:"hostName"`
		} `json:"hostnameConfigurations"`
		Addresses []string `json:"publicIPAddresses"`
		Kind      string   `json:"virtualNetworkType"`
		Network   string   `json:"publicNetworkAccess"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	names := rest.Hosts(p.Gateway, p.Portal, p.Manage, p.Repo)
	for _, n := range p.Names {
		names = append(names, plainNames([]string{n.Name})...)
	}
	f.Hostnames, f.Addresses = names, p.Addresses
	public := !strings.EqualFold(p.Kind, "Internal") && !disabled(p.Network)
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(public)
	open(f, public, "its gateway is on the internet")
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}
