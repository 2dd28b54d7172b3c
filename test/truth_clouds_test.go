package test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// otherCloud answers as a cloud's documents say, for one account. Its resources are declared with what has to be found of them.
type otherCloud struct {
	*httptest.Server

	account, role, credential string

	mu sync.Mutex
	// proof is the value of the account's tag or label, rows and policies its inventory, lists what resources say of themselves, by path in
	// lower case. Paths in refused are.
	proof          string
	rows, policies []string
	lists          map[string][]string
	answers        map[string]string
	refused        map[string]bool
	truth          []string
}

// Answers of both clouds that have to be of one form.
const (
	cloudToken  = "token-of-the-test"
	azureID     = "cfbbd179-59d2-4052-aa06-9270a38aa9d6"
	azureApp    = "11111111-2222-3333-4444-555555555555"
	azurePath   = "/subscriptions/" + azureID + "/resourcegroups/rg1/providers/"
	azureGraph  = "/providers/microsoft.resourcegraph/resources"
	googleID    = "demo-project-1"
	googleEmail = "reader@security-tools.iam.gserviceaccount.com"
	googleAsked = "/v1/projects/" + googleID + "/assets"
	// lentAddress is in Google's ranges, and held by the account of Azure.
	lentAddress = "34.102.6.6"
	// azureZone and googleZone are domains that nobody is asked about.
	azureZone, googleZone = "riskprofiler-lab-azure.com", "riskprofiler-lab-google.com"
)

func newOtherCloud(t *testing.T, account, role, credential string) *otherCloud {
	t.Helper()
	c := &otherCloud{account: account, role: role, credential: credential, lists: map[string][]string{}, answers: map[string]string{}, refused: map[string]bool{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// ServeHTTP answers for both: their paths differ.
func (c *otherCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := strings.ToLower(r.URL.Path)
	if content := r.URL.Query().Get("contentType"); content != "" {
		path += "#" + strings.ToLower(content)
	}
	text := c.answers[path]
	switch {
	case strings.HasSuffix(path, "/token"):
		text = `{"token_type":"Bearer","expires_in":3599,"access_token":"` + cloudToken + `"}`
	case r.Header.Get("Authorization") != "Bearer "+cloudToken:
		w.WriteHeader(http.StatusUnauthorized)
	case c.refused[path]:
		w.WriteHeader(http.StatusForbidden)
		text = `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`
	case path == "/subscriptions/"+azureID:
		text = `{"subscriptionId":"` + azureID + `","tags":{"riskprofiler":"` + c.proof + `"}}`
	case strings.HasSuffix(path, "/microsoft.authorization/permissions"):
		text = `{"value":[{"actions":["*/read"],"notActions":[]}]}`
	case path == azureGraph:
		text = fmt.Sprintf(`{"totalRecords":%d,"count":%[1]d,"resultTruncated":"false","facets":[],"data":[%s]}`, len(c.rows), strings.Join(c.rows, ","))
	case path == "/v3/projects/"+googleID:
		text = `{"projectId":"` + googleID + `","state":"ACTIVE","labels":{"riskprofiler":"` + c.proof + `"}}`
	case path == googleAsked+"#resource":
		text = `{"readTime":"2026-11-23T09:00:00Z","assets":[` + strings.Join(c.rows, ",") + `]}`
	case path == googleAsked+"#iam_policy":
		text = `{"readTime":"2026-11-23T09:00:00Z","assets":[` + strings.Join(c.policies, ",") + `]}`
	case c.lists[path] != nil:
		text = `{"value":[` + strings.Join(c.lists[path], ",") + `]}`
	case text == "":
		w.WriteHeader(http.StatusNotFound)
		text = `{"error":{"code":"ResourceNotFound","message":"none"}}`
	}
	_, _ = w.Write([]byte(text))
}

// holds declares findings about one place.
func (c *otherCloud) holds(asset, location string, checks ...string) {
	for _, check := range checks {
		c.truth = append(c.truth, line(check, asset, location))
	}
}

// azure adds a resource with what holds of it itself, and returns its id.
func (c *otherCloud) azure(kind, name, properties string, checks ...string) string {
	id := azurePath + strings.ToLower(kind) + "/" + name
	c.rows = append(c.rows, fmt.Sprintf(`{"id":%q,"name":%q,"type":%q,"location":"westeurope","properties":%s}`, id, name, strings.ToLower(kind), properties))
	c.holds(id, "", checks...)
	return id
}

// google adds a resource with what holds of it itself, and returns its id.
func (c *otherCloud) google(kind, name, data string, checks ...string) string {
	service, _, _ := strings.Cut(kind, "/")
	id := "//" + service + "/projects/" + googleID + "/" + name
	c.rows = append(c.rows, fmt.Sprintf(`{"name":%q,"assetType":%q,"resource":{"version":"v1","location":"europe-west1","data":%s}}`, id, kind, data))
	c.holds(id, "", checks...)
	return id
}

// lets adds who may do what with a resource.
func (c *otherCloud) lets(kind, id, role, who string) {
	c.policies = append(c.policies, fmt.Sprintf(`{"name":%q,"assetType":%q,"iamPolicy":{"bindings":[{"role":%q,"members":[%q]}]}}`, id, kind, role, who))
}

// subscription is an account of Azure.
func subscription(t *testing.T) *otherCloud {
	t.Helper()
	c := newOtherCloud(t, "azure:"+azureID, azureApp, `{"tenant":"contoso.onmicrosoft.com","client_id":"`+azureApp+`","client_secret":"kept"}`)
	nic := azurePath + "microsoft.network/networkinterfaces/web-nic"
	group := azurePath + "microsoft.network/networksecuritygroups/web-nsg"
	web := c.azure("Microsoft.Network/publicIPAddresses", "web", `{"ipAddress":"20.50.2.1","ipConfiguration":{"id":"`+nic+`/ipConfigurations/one"}}`)
	// The other cloud's record "lent" leads here: an address that another account of the tenant's holds is not lost.
	c.azure("Microsoft.Network/publicIPAddresses", "lent", `{"ipAddress":"`+lentAddress+`","ipConfiguration":{"id":"`+nic+`/ipConfigurations/two"}}`)
	c.azure("Microsoft.Network/publicIPAddresses", "left", `{"ipAddress":"20.50.2.9"}`, "cloud-address-unassigned")
	c.azure("Microsoft.Network/networkInterfaces", "web-nic", `{"networkSecurityGroup":{"id":"`+group+`"},"ipConfigurations":[{"properties":{"publicIPAddress":{"id":"`+web+`"}}}]}`)
	c.azure("Microsoft.Network/networkSecurityGroups", "web-nsg", `{"networkInterfaces":[{"id":"`+nic+`"}],"securityRules":[
		{"name":"deny-rdp","properties":{"access":"Deny","direction":"Inbound","priority":100,"protocol":"*","sourceAddressPrefix":"*","destinationAddressPrefix":"*","destinationPortRange":"3389"}},
		{"name":"any","properties":{"access":"Allow","direction":"Inbound","priority":200,"protocol":"Tcp","sourceAddressPrefix":"Internet","destinationAddressPrefix":"*","destinationPortRanges":["22","3380-3400"]}}]}`)
	machine := c.azure("Microsoft.Compute/virtualMachines", "web-vm", `{"networkProfile":{"networkInterfaces":[{"id":"`+nic+`"}]}}`)
	c.holds("20.50.2.1", machine, "cloud-sensitive-port-open")

	shop := c.azure("Microsoft.Web/sites", "shop", `{"state":"Running","defaultHostName":"shop.azurewebsites.net","hostNames":["shop.azurewebsites.net"],"httpsOnly":false,"inboundIpAddress":"20.50.3.3"}`,
		"cloud-plain-http", "cloud-tls-outdated")
	c.answers[shop+"/config/web"] = `{"properties":{"minTlsVersion":"1.0","ipSecurityRestrictions":[{"ipAddress":"Any","action":"Allow","priority":2147483647}]}}`
	files := c.azure("Microsoft.Storage/storageAccounts", "files", `{"primaryEndpoints":{"blob":"https://files.blob.core.windows.net/"},"allowBlobPublicAccess":true,"minimumTlsVersion":"TLS1_2","supportsHttpsTrafficOnly":true,"networkAcls":{"defaultAction":"Allow"}}`)
	containers := files + "/blobservices/default/containers"
	for name, kind := range map[string]string{"listed": "Container", "named": "Blob", "inner": "None"} {
		c.lists[containers] = append(c.lists[containers], `{"id":"`+containers+`/`+name+`","name":"`+name+`","properties":{"publicAccess":"`+kind+`"}}`)
	}
	c.holds(containers+"/listed", "", "cloud-bucket-listable")
	c.holds(containers+"/named", "", "cloud-bucket-readable")
	for name, last := range map[string]string{"db": "255.255.255.255", "fenced": "0.0.0.0"} {
		db := c.azure("Microsoft.Sql/servers", name, `{"fullyQualifiedDomainName":"`+name+`.database.windows.net","publicNetworkAccess":"Enabled","minimalTlsVersion":"1.2","version":"12.0"}`)
		c.lists[db+"/firewallrules"] = []string{`{"name":"r","properties":{"startIpAddress":"0.0.0.0","endIpAddress":"` + last + `"}}`}
		c.holds(db, "", map[string]string{"db": "cloud-database-public", "fenced": "cloud-database-address"}[name])
	}
	c.azure("Microsoft.ContainerService/managedClusters", "k8s", `{"fqdn":"k8s-dns.hcp.westeurope.azmk8s.io","apiServerAccessProfile":{"authorizedIPRanges":[]}}`, "cloud-kubernetes-public")
	c.azure("Microsoft.ContainerRegistry/registries", "images", `{"loginServer":"images.azurecr.io","anonymousPullEnabled":true}`, "cloud-registry-public")
	c.azure("Microsoft.ContainerRegistry/registries", "inner", `{"loginServer":"inner.azurecr.io","anonymousPullEnabled":false}`)

	zone := c.azure("Microsoft.Network/dnsZones", azureZone, `{"zoneType":"Public"}`)
	for name, set := range map[string][3]string{
		"www": {"CNAME", `"CNAMERecord":{"cname":"shop.azurewebsites.net"}`}, "old": {"CNAME", `"CNAMERecord":{"cname":"gone.azurewebsites.net"}`, "cloud-dns-not-held"},
		"left": {"A", `"ARecords":[{"ipv4Address":"20.50.2.9"}]`, "cloud-dns-idle-address"}, "lost": {"A", `"ARecords":[{"ipv4Address":"20.50.9.9"}]`, "cloud-dns-dangling-address"},
	} {
		id := zone + "/" + strings.ToLower(set[0]) + "/" + name
		c.lists[zone+"/recordsets"] = append(c.lists[zone+"/recordsets"], `{"id":"`+id+`","name":"`+name+`","type":"Microsoft.Network/dnszones/`+set[0]+`","properties":{"fqdn":"`+name+`.`+azureZone+`.","TTL":60,`+set[1]+`}}`)
		if set[2] != "" {
			c.holds(name+"."+azureZone, id, set[2])
		}
	}
	return c
}

// keyFile is the file of a service account's key.
func keyFile(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "private_key_id": "0123abcd", "client_email": googleEmail, "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// project is an account of Google.
func project(t *testing.T) *otherCloud {
	t.Helper()
	c := newOtherCloud(t, "google:"+googleID, googleEmail, keyFile(t))
	const network = `"network":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/networks/default"`
	c.google("compute.googleapis.com/Address", "regions/r/addresses/left", `{"address":"34.102.1.9","status":"RESERVED","addressType":"EXTERNAL"}`, "cloud-address-unassigned")
	web := c.google("compute.googleapis.com/Instance", "zones/z/instances/web", `{"status":"RUNNING","tags":{"items":["web"]},"networkInterfaces":[{`+network+`,"accessConfigs":[{"natIP":"34.102.1.1"}]}]}`)
	c.holds("34.102.1.1", web, "cloud-sensitive-port-open")
	c.google("compute.googleapis.com/Instance", "zones/z/instances/plain", `{"status":"RUNNING","networkInterfaces":[{`+network+`,"accessConfigs":[{"natIP":"34.102.1.2"}]}]}`)
	c.google("compute.googleapis.com/Firewall", "global/firewalls/web", `{`+network+`,"direction":"INGRESS","priority":1000,"sourceRanges":["0.0.0.0/0"],"targetTags":["web"],"allowed":[{"IPProtocol":"tcp","ports":["22","8000-8100"]}]}`)
	c.google("compute.googleapis.com/Firewall", "global/firewalls/office", `{`+network+`,"direction":"INGRESS","priority":10,"sourceRanges":["203.0.113.0/24"],"allowed":[{"IPProtocol":"all"}]}`)
	const bucket, run, registry, topic = "storage.googleapis.com/Bucket", "run.googleapis.com/Service", "artifactregistry.googleapis.com/Repository", "pubsub.googleapis.com/Topic"
	open := c.google(bucket, "buckets/open", `{"name":"open"}`, "cloud-bucket-listable")
	c.lets(bucket, open, "roles/storage.objectViewer", "allUsers")
	c.google(bucket, "buckets/old", `{"name":"old","acl":[{"entity":"allUsers","role":"WRITER"}]}`, "cloud-bucket-writable", "cloud-bucket-listable")
	blocked := c.google(bucket, "buckets/blocked", `{"name":"blocked","iamConfiguration":{"publicAccessPrevention":"enforced"}}`)
	c.lets(bucket, blocked, "roles/storage.admin", "allUsers")
	hook := c.google(run, "locations/europe-west1/services/hook", `{"ingress":"INGRESS_TRAFFIC_ALL","uri":"https://hook-abc-ew.a.run.app"}`, "cloud-function-url-open")
	c.lets(run, hook, "roles/run.invoker", "allUsers")
	asked := c.google(run, "locations/europe-west1/services/asked", `{"ingress":"INGRESS_TRAFFIC_ALL","uri":"https://asked-abc-ew.a.run.app"}`)
	c.lets(run, asked, "roles/run.invoker", "user:a@example.com")
	c.google("sqladmin.googleapis.com/Instance", "instances/db", `{"databaseVersion":"POSTGRES_16","ipAddresses":[{"type":"PRIMARY","ipAddress":"34.100.1.1"}],"settings":{"ipConfiguration":{"ipv4Enabled":true,"sslMode":"ENCRYPTED_ONLY","authorizedNetworks":[{"value":"0.0.0.0/0"}]}}}`, "cloud-database-public")
	c.google("sqladmin.googleapis.com/Instance", "instances/fenced", `{"databaseVersion":"MYSQL_8_0","ipAddresses":[{"type":"PRIMARY","ipAddress":"34.100.1.3"}],"settings":{"ipConfiguration":{"ipv4Enabled":true,"sslMode":"ENCRYPTED_ONLY","authorizedNetworks":[{"value":"203.0.113.7/32"}]}}}`, "cloud-database-address")
	c.google("container.googleapis.com/Cluster", "clusters/k8s", `{"currentMasterVersion":"1.31.1-gke.1","endpoint":"34.100.2.1"}`, "cloud-kubernetes-public")
	c.google("container.googleapis.com/Cluster", "clusters/fenced", `{"endpoint":"34.100.2.2","masterAuthorizedNetworksConfig":{"enabled":true,"cidrBlocks":[{"cidrBlock":"203.0.113.0/24"}]}}`)
	images := c.google(registry, "repositories/images", `{"format":"DOCKER"}`, "cloud-registry-public")
	c.lets(registry, images, "roles/artifactregistry.reader", "allUsers")
	news := "//pubsub.googleapis.com/projects/" + googleID + "/topics/news"
	c.lets(topic, news, "roles/pubsub.publisher", "allUsers")
	c.holds(news, "", "cloud-messaging-public")
	secret := "//secretmanager.googleapis.com/projects/" + googleID + "/secrets/key"
	c.lets("secretmanager.googleapis.com/Secret", secret, "roles/secretmanager.secretAccessor", "allAuthenticatedUsers")
	c.holds(secret, "", "cloud-secret-public")

	c.google("dns.googleapis.com/ManagedZone", "managedZones/77", `{"id":"77","name":"public","dnsName":"`+googleZone+`.","visibility":"public"}`)
	for name, set := range map[string][3]string{
		"www": {"A", "34.102.1.1"}, "lent": {"A", lentAddress}, "lost": {"A", "34.102.7.7", "cloud-dns-dangling-address"}, "left": {"A", "34.102.1.9", "cloud-dns-idle-address"},
		"app": {"CNAME", "hook-abc-ew.a.run.app."}, "gone": {"CNAME", "gone-abc.a.run.app.", "cloud-dns-not-held"},
	} {
		full := name + "." + googleZone
		id := c.google("dns.googleapis.com/ResourceRecordSet", "managedZones/77/rrsets/"+full+"./"+set[0], fmt.Sprintf(`{"name":"%s.","type":%q,"ttl":300,"rrdatas":[%q]}`, full, set[0], set[1]))
		if set[2] != "" {
			c.holds(full, id, set[2])
		}
	}
	return c
}

// prove proves an account, and that a tag with another's proof proves nothing.
func (c *otherCloud) prove(t *testing.T, p *Platform) {
	t.Helper()
	ctx := t.Context()
	provider, _, _ := strings.Cut(c.account, ":")
	p.must(t, ctx, http.MethodPost, "/v1/providerKeys", map[string]any{"provider": provider, "key": c.credential}, nil)
	asset, proof := &modelv1.Asset{}, &ingestv1.Proof{}
	p.must(t, ctx, http.MethodPost, "/v1/assets", map[string]any{"value": c.account}, asset)
	p.must(t, ctx, http.MethodPost, "/v1/"+asset.GetName()+"/proofs", map[string]any{"method": ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE.String(), "role": c.role}, proof)
	for _, tag := range []string{"another-tenants", proof.GetToken()} {
		c.mu.Lock()
		c.proof = tag
		c.mu.Unlock()
		p.must(t, ctx, http.MethodPost, "/v1/"+proof.GetName()+":verify", map[string]any{}, proof)
		if proof.GetVerified() != (tag == proof.GetToken()) || strings.Contains(proof.GetProblem(), "rpc error") {
			t.Fatalf("%s with the tag %q: %v", c.account, tag, proof)
		}
	}
}

// read assesses an account by the scan type cloud alone: nothing is sent to its addresses and names.
func (c *otherCloud) read(t *testing.T, p *Platform, want modelv1.Outcome) *reporterv1.ReportDocument {
	t.Helper()
	a := &schedulerv1.Assessment{}
	p.must(t, t.Context(), http.MethodPost, "/v1/assessments", map[string]any{"targets": []string{c.account}, "profile": "PROFILE_STANDARD", "scanTypes": []string{"SCAN_TYPE_CLOUD"}}, a)
	doc := p.Finish(t, a.GetName()).Report
	if list := doc.GetCoverage(); len(list) != 1 || list[0].GetScanType() != modelv1.ScanType_SCAN_TYPE_CLOUD || list[0].GetOutcome() != want {
		t.Fatalf("%s: want one reading that is %s: %v", c.account, want, list)
	}
	return doc
}

// TestTruthOfClouds: declared accounts of Azure and Google become the findings that are declared, all of them and no others; what was not read
// the next time stays open and says so.
func TestTruthOfClouds(t *testing.T) {
	azure, google := subscription(t), project(t)
	p := InProcess(t, Options{Settings: map[string]string{"RISKPROFILER_CLOUD_URLS": "azure=" + azure.URL + ",azure-login=" + azure.URL + ",google=" + google.URL}})
	for _, c := range []*otherCloud{azure, google} {
		c.prove(t, p)
		slices.Sort(c.truth)
		if d := Difference(c.truth, open(c.read(t, p, modelv1.Outcome_OUTCOME_COMPLETE))); d != "" {
			t.Errorf("%s: the findings differ from the truth (- missing, + not in the truth):\n%s", c.account, d)
		}
	}
	for c, path := range map[*otherCloud]string{azure: azureGraph, google: googleAsked + "#resource"} {
		c.mu.Lock()
		c.refused[path] = true
		c.mu.Unlock()
		doc := c.read(t, p, modelv1.Outcome_OUTCOME_PARTIAL)
		if d := Difference(c.truth, open(doc)); d != "" {
			t.Errorf("%s without its inventory (- closed, + new):\n%s", c.account, d)
		}
		for _, f := range doc.GetFindings() {
			if policies := c == google && (f.GetCheck() == "cloud-messaging-public" || f.GetCheck() == "cloud-secret-public"); f.GetNotRetested() == policies {
				t.Errorf("%s: %s of %s is not re-tested: %v", c.account, f.GetCheck(), f.GetAssetValue(), f.GetNotRetested())
			}
		}
	}
}
