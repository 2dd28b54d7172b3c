package azure

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var dataKinds = []kind{
	{"Microsoft.Storage/storageAccounts", readStorage},
	{"Microsoft.Sql/servers", readServer(versionSQL, "")},
	{"Microsoft.DBforPostgreSQL/flexibleServers", readServer(versionPostgreSQL, "postgres")},
	{"Microsoft.DBforMySQL/flexibleServers", readServer(versionMySQL, "mysql")},
	{"Microsoft.DocumentDB/databaseAccounts", readDocuments},
	{"Microsoft.Cache/Redis", readRedis},
	{"Microsoft.KeyVault/vaults", readVault},
	{"Microsoft.ContainerRegistry/registries", readRegistry},
}

// typeContainer is a container of blobs; it is not in Resource Graph.
const typeContainer = "Microsoft.Storage/storageAccounts/blobServices/containers"

// fence are the network rules of storage accounts, vaults and registries.
type fence struct {
	Default string `json:"defaultAction"`
}

// admits says whether the rules let everybody through: absent means so.
func (a fence) admits() bool { return !strings.EqualFold(a.Default, "Deny") }

// readStorage reads a storage account (Microsoft.Storage, StorageAccountProperties). What its containers show to everybody is asked
// unless the account forbids it for all of them; where it does not say, some of them may.
func readStorage(s *scan, r *row) error {
	var p struct {
		Ends struct {
			Blob string `json:"blob"`
			Web  string `json:"web"`
		} `json:"primaryEndpoints"`
		Blob *bool  `json:"allowBlobPublicAccess"`
		TLS  string `json:"minimumTlsVersion"`
		Only *bool  `json:"supportsHttpsTrafficOnly"`
		Net  string `json:"publicNetworkAccess"`
		ACL  fence  `json:"networkAcls"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.Ends.Blob, p.Ends.Web)
	reachable := !disabled(p.Net) && p.ACL.admits()
	set(f, cloud.SettingMinimumTLS, tls(p.TLS))
	if p.Only != nil {
		f.Settings[cloud.SettingPlainHTTP] = rest.YesNo(!*p.Only)
	}
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(!disabled(p.Net)), rest.YesNo(reachable)
	allowed := p.Blob == nil || *p.Blob
	if p.Blob != nil {
		f.Settings[cloud.SettingAccessBlock] = cloud.BlockNone
		if !*p.Blob {
			f.Settings[cloud.SettingAccessBlock] = cloud.BlockAll
		}
	}
	// Its names answer everybody, with a refusal: what is public is a container.
	if err := s.Emit(cloud.Resource{Fact: f, Names: reachable}); err != nil || !allowed {
		return err
	}
	s.later = append(s.later, func(ctx context.Context) error { return s.containers(ctx, f, reachable) })
	return nil
}

// containers asks for the containers of an account and hands over those that everybody may read.
func (s *scan) containers(ctx context.Context, account *modelv1.CloudFact, reachable bool) error {
	err := s.list(ctx, s.session.url(account.GetId()+"/blobServices/default/containers", versionContainers), func(raw json.RawMessage) error {
		f, err := container(raw, account, reachable)
		if err != nil || f == nil {
			return err
		}
		return s.Emit(cloud.Resource{Fact: f})
	})
	return s.Gap(err, typeContainer+"/read")
}

// container reads one (Microsoft.Storage, ListContainerItem); nil for one that is private. "Blob" lets everybody read what he knows the
// name of, "Container" lists the names as well (learn.microsoft.com/azure/storage/blobs/anonymous-read-access-configure).
func container(raw json.RawMessage, account *modelv1.CloudFact, reachable bool) (*modelv1.CloudFact, error) {
	var c struct {
		ID         string `json:"id"`
		Name       string `json:"name"`
		Properties struct {
			Access string `json:"publicAccess"`
		} `json:"properties"`
	}
	if json.Unmarshal(raw, &c) != nil || c.ID == "" {
		return nil, rest.Broken("its answer cannot be read")
	}
	list := strings.EqualFold(c.Properties.Access, "Container")
	if !list && !strings.EqualFold(c.Properties.Access, "Blob") {
		return nil, nil
	}
	f := (&row{ID: c.ID, Name: account.GetName() + "/" + c.Name, Type: typeContainer, Location: account.GetRegion()}).fact()
	f.PointsTo = []string{account.GetId()}
	f.Settings = map[string]string{
		cloud.SettingPublicRead: rest.YesNo(reachable), cloud.SettingPublicList: rest.YesNo(reachable && list), cloud.SettingPublicWrite: cloud.No,
	}
	open(f, reachable, "everybody may read what is in it")
	return f, nil
}

// readServer reads a server of databases: its switch, then its rules.
func readServer(version, engine string) func(*scan, *row) error {
	return func(s *scan, r *row) error {
		var p struct {
			Name    string `json:"fullyQualifiedDomainName"`
			Net     string `json:"publicNetworkAccess"`
			TLS     string `json:"minimalTlsVersion"`
			Version string `json:"version"`
			Network struct {
				Net string `json:"publicNetworkAccess"`
			} `json:"network"`
		}
		if err := json.Unmarshal(r.Properties, &p); err != nil {
			return err
		}
		f := r.fact()
		f.Hostnames = rest.Hosts(p.Name)
		set(f, cloud.SettingMinimumTLS, tls(p.TLS))
		f.Settings[cloud.SettingEngine] = strings.TrimSpace(engine + " " + p.Version)
		if engine == "" {
			f.Settings[cloud.SettingEngine] = "azure sql " + p.Version
		}
		public := !disabled(p.Net) && !disabled(p.Network.Net)
		f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(public)
		s.Held.Add(f.GetHostnames(), nil)
		s.later = append(s.later, func(ctx context.Context) error { return s.firewall(ctx, f, version, public) })
		return nil
	}
}

// firewall asks for the rules of a server of databases, and hands the server over.
func (s *scan) firewall(ctx context.Context, f *modelv1.CloudFact, version string, public bool) error {
	if !public {
		f.Settings[cloud.SettingOpenToWorld] = cloud.No
		return s.Emit(cloud.Resource{Fact: f})
	}
	var space rest.Space
	err := s.list(ctx, s.session.url(f.GetId()+"/firewallRules", version), func(raw json.RawMessage) error {
		first, last, err := firewallRule(raw)
		if err != nil {
			return err
		}
		space.AddRange(first, last)
		return nil
	})
	if err := s.Gap(err, f.GetType()+"/firewallRules/read"); err != nil {
		return err
	}
	// Rules only add: what was read so far may be enough to say that everybody is admitted, and never that nobody is.
	if world := space.World(); world || err == nil {
		f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(world)
		open(f, world, "its firewall rules admit the whole internet")
	}
	return s.Emit(cloud.Resource{Fact: f, Names: true})
}

// firewallRule reads one rule (Microsoft.Sql, Microsoft.DBforPostgreSQL and Microsoft.DBforMySQL, FirewallRule).
func firewallRule(raw json.RawMessage) (first, last netip.Addr, err error) {
	var rule struct {
		Properties struct {
			First string `json:"startIpAddress"`
			Last  string `json:"endIpAddress"`
		} `json:"properties"`
	}
	if json.Unmarshal(raw, &rule) == nil {
		first, err = netip.ParseAddr(rule.Properties.First)
		if err == nil {
			last, err = netip.ParseAddr(rule.Properties.Last)
		}
	}
	if err != nil || !first.IsValid() {
		return first, last, rest.Broken("its answer cannot be read")
	}
	return first, last, nil
}

func readDocuments(s *scan, r *row) error {
	var p struct {
		End   string `json:"documentEndpoint"`
		Net   string `json:"publicNetworkAccess"`
		TLS   string `json:"minimalTlsVersion"`
		Fence bool   `json:"isVirtualNetworkFilterEnabled"`
		Rules []struct {
			Range string `json:"ipAddressOrRange"`
		} `json:"ipRules"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.End)
	set(f, cloud.SettingMinimumTLS, tls(p.TLS))
	f.Settings[cloud.SettingEngine] = "cosmos db"
	public := !disabled(p.Net)
	all := public && !p.Fence && len(p.Rules) == 0
	var space rest.Space
	for _, rule := range p.Rules {
		space.Add(rule.Range)
	}
	all = all || public && space.World()
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(public), rest.YesNo(all)
	open(f, all, "its firewall admits the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}

// readRedis reads a cache. Its rules are resources of their own and not asked for: who has none admits everybody.
func readRedis(s *scan, r *row) error {
	var p struct {
		Name  string `json:"hostName"`
		Net   string `json:"publicNetworkAccess"`
		TLS   string `json:"minimumTlsVersion"`
		Plain bool   `json:"enableNonSslPort"`
		Own   string `json:"subnetId"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.Name)
	set(f, cloud.SettingMinimumTLS, tls(p.TLS))
	public := !disabled(p.Net) && p.Own == ""
	f.Settings[cloud.SettingEngine], f.Settings[cloud.SettingPlainHTTP] = "redis", rest.YesNo(p.Plain)
	f.Settings[cloud.SettingPubliclyAccessible] = rest.YesNo(public)
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}

func readVault(s *scan, r *row) error {
	var p struct {
		URI string `json:"vaultUri"`
		Net string `json:"publicNetworkAccess"`
		ACL fence  `json:"networkAcls"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.URI)
	public := !disabled(p.Net)
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(public), rest.YesNo(public && p.ACL.admits())
	open(f, public && p.ACL.admits(), "its network rules admit the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}

func readRegistry(s *scan, r *row) error {
	var p struct {
		Name      string `json:"loginServer"`
		Net       string `json:"publicNetworkAccess"`
		Anonymous bool   `json:"anonymousPullEnabled"`
		Admin     bool   `json:"adminUserEnabled"`
		Rules     fence  `json:"networkRuleSet"`
	}
	if err := json.Unmarshal(r.Properties, &p); err != nil {
		return err
	}
	f := r.fact()
	f.Hostnames = rest.Hosts(p.Name)
	public := !disabled(p.Net)
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(public), rest.YesNo(public && p.Rules.admits())
	f.Settings[cloud.SettingAnonymous], f.Settings["admin-user"] = rest.YesNo(p.Anonymous), rest.YesNo(p.Admin)
	open(f, public && p.Rules.admits(), "its network rules admit the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Names: public})
}
