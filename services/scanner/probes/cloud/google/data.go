package google

import (
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

var dataKinds = []kind{
	{typeBucket, readBucket},
	{"sqladmin.googleapis.com/Instance", readSQL},
	{"artifactregistry.googleapis.com/Repository", readRepository},
}

// roles that let everybody list, read and write the objects of a bucket (cloud.google.com/storage/docs/access-control/iam-roles).
var (
	readers = []string{"storage.objectViewer", "storage.objectUser", "storage.objectAdmin", "storage.admin", "storage.legacyObjectReader", "storage.legacyObjectOwner", "viewer", "editor", "owner"}
	listers = []string{"storage.objectViewer", "storage.objectUser", "storage.objectAdmin", "storage.admin", "storage.legacyBucketReader", "storage.legacyBucketWriter", "storage.legacyBucketOwner"}
	writers = []string{"storage.objectCreator", "storage.objectUser", "storage.objectAdmin", "storage.admin", "storage.legacyBucketWriter", "storage.legacyBucketOwner", "editor", "owner"}
)

// readBucket reads a bucket (storage v1, buckets). What everybody may do is by policy or, where access lists count, by them.
func readBucket(s *scan, a *asset) error {
	type entry struct {
		Entity string `json:"entity"`
		Role   string `json:"role"`
	}
	var p struct {
		Name   string `json:"name"`
		Config struct {
			Prevention string `json:"publicAccessPrevention"`
			Uniform    struct {
				Enabled bool `json:"enabled"`
			} `json:"uniformBucketLevelAccess"`
		} `json:"iamConfiguration"`
		ACL     []entry           `json:"acl"`
		Website *struct{}         `json:"website"`
		Labels  map[string]string `json:"labels"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f := a.fact()
	f.Tags = p.Labels
	roles := s.everybody(a.Name)
	if !p.Config.Uniform.Enabled {
		for _, e := range p.ACL {
			if e.Entity == "allUsers" || e.Entity == "allAuthenticatedUsers" {
				roles = append(roles, map[string]string{"READER": "roles/storage.legacyBucketReader", "WRITER": "roles/storage.legacyBucketWriter", "OWNER": "roles/storage.legacyBucketOwner"}[e.Role])
			}
		}
	}
	blocked := strings.EqualFold(p.Config.Prevention, "enforced")
	f.Settings[cloud.SettingWebsite] = rest.YesNo(p.Website != nil)
	f.Settings[cloud.SettingAccessBlock] = cloud.BlockNone
	if blocked {
		f.Settings[cloud.SettingAccessBlock], roles = cloud.BlockAll, nil
	}
	read, list, write := has(roles, readers...), has(roles, listers...), has(roles, writers...)
	for name, is := range map[string]bool{cloud.SettingPublicRead: read, cloud.SettingPublicList: list, cloud.SettingPublicWrite: write} {
		if is || blocked || s.granted {
			f.Settings[name] = rest.YesNo(is)
		}
	}
	open(f, read || list || write, "everybody may read, list or write what is in it")
	s.Held.Add([]string{p.Name + ".storage.googleapis.com"}, nil)
	return s.Emit(cloud.Resource{Fact: f})
}

// readSQL reads an instance of Cloud SQL (sqladmin v1, instances).
func readSQL(s *scan, a *asset) error {
	var p struct {
		Version string `json:"databaseVersion"`
		Name    string `json:"dnsName"`
		At      []struct {
			Kind string `json:"type"`
			IP   string `json:"ipAddress"`
		} `json:"ipAddresses"`
		Settings struct {
			IP struct {
				Public *bool  `json:"ipv4Enabled"`
				SSL    string `json:"sslMode"`
				Must   bool   `json:"requireSsl"`
				Ranges []struct {
					Value string `json:"value"`
				} `json:"authorizedNetworks"`
			} `json:"ipConfiguration"`
		} `json:"settings"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f, ip := a.fact(), p.Settings.IP
	for _, at := range p.At {
		if at.Kind == "PRIMARY" { // OUTGOING is where it calls from, PRIVATE is inside
			f.Addresses = append(f.Addresses, at.IP)
		}
	}
	public := len(f.GetAddresses()) > 0 || ip.Public != nil && *ip.Public
	var space rest.Space
	for _, r := range ip.Ranges {
		space.Add(r.Value)
	}
	all := public && space.World()
	f.Settings[cloud.SettingEngine] = strings.ToLower(strings.ReplaceAll(p.Version, "_", " "))
	f.Settings[cloud.SettingPubliclyAccessible], f.Settings[cloud.SettingOpenToWorld] = rest.YesNo(public), rest.YesNo(all)
	plain := ip.SSL == "ALLOW_UNENCRYPTED_AND_ENCRYPTED" || (ip.SSL == "" || ip.SSL == "SSL_MODE_UNSPECIFIED") && !ip.Must
	f.Settings["plain-connections"] = rest.YesNo(plain)
	open(f, all, "it has a public address, and its authorized networks are the whole internet")
	return s.Emit(cloud.Resource{Fact: f, Dedicated: true})
}

// readRepository reads a repository of images and packages.
func readRepository(s *scan, a *asset) error {
	var p struct {
		Format string `json:"format"`
	}
	if err := a.decode(&p); err != nil {
		return err
	}
	f := a.fact()
	set := f.GetSettings()
	set["format"] = strings.ToLower(p.Format)
	anybody := has(s.everybody(a.Name), "artifactregistry.reader", "artifactregistry.writer", "artifactregistry.repoAdmin", "artifactregistry.admin", "viewer", "editor", "owner")
	if anybody || s.granted {
		set[cloud.SettingAnonymous] = rest.YesNo(anybody)
	}
	open(f, anybody, "everybody may pull from it")
	return s.Emit(cloud.Resource{Fact: f})
}
