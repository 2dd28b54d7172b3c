package google

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const (
	project = "demo-project-1"
	email   = "reader@security-tools.iam.gserviceaccount.com"
	other   = "scan@demo-project-1.iam.gserviceaccount.com"
	proof   = "riskprofiler-00112233445566778899aabbccddeeff"
)

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// keyFile is the file of a service account's key, with addresses that must not be followed.
func keyFile() string {
	der, err := x509.MarshalPKCS8PrivateKey(key())
	if err != nil {
		panic(err)
	}
	raw, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "security-tools", "private_key_id": "0123abcd", "client_email": email, "token_uri": "http://192.0.2.1/steal",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// google is a server that answers as Google's APIs document it, for one project.
type google struct {
	*httptest.Server
	t *testing.T

	mu                  sync.Mutex
	labels              map[string]string
	resources, policies []string
	perPage             int
	faults              map[string]http.HandlerFunc
	asked               map[string]int
}

func newGoogle(t *testing.T) *google {
	t.Helper()
	g := &google{t: t, labels: map[string]string{"riskprofiler": proof}, perPage: 2, faults: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	return g
}

func (g *google) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := r.URL.Path
	if content := r.URL.Query().Get("contentType"); content != "" {
		path += "#" + content
	}
	g.asked[path]++
	if f := g.faults[path]; f != nil {
		f(w, r)
		return
	}
	bearer := r.Header.Get("Authorization")
	switch {
	case path == "/token":
		g.token(w, r)
	case path == "/v1/projects/-/serviceAccounts/"+other+":generateAccessToken" && bearer == "Bearer canary-own":
		_, _ = w.Write([]byte(`{"accessToken":"canary-other","expireTime":"2030-01-01T00:00:00Z"}`))
	case bearer != "Bearer canary-own" && bearer != "Bearer canary-other":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":{"code":401,"message":"canary","status":"UNAUTHENTICATED"}}`))
	case path == "/v3/projects/"+project:
		raw, err := json.Marshal(map[string]any{"name": "projects/415104041262", "projectId": project, "state": "ACTIVE", "labels": g.labels})
		if err != nil {
			g.t.Error(err)
		}
		_, _ = w.Write(raw)
	case path == "/v1/projects/"+project+"/assets#RESOURCE":
		g.page(w, r, g.resources)
	case path == "/v1/projects/"+project+"/assets#IAM_POLICY":
		g.page(w, r, g.policies)
	default:
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":{"code":403,"message":"canary","status":"PERMISSION_DENIED"}}`))
	}
}

// token checks the assertion as RFC 7523 says.
func (g *google) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		g.t.Errorf("%v %v", r.PostForm, err)
	}
	parts := strings.Split(r.PostForm.Get("assertion"), ".")
	if len(parts) != 3 {
		g.t.Fatalf("%d parts", len(parts))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&key().PublicKey, crypto.SHA256, sum[:], signature) != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"canary"}`))
		return
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}
	if err != nil || json.Unmarshal(claims, &c) != nil || c.Issuer != email || c.Audience != "https://oauth2.googleapis.com/token" || c.Expires-c.Issued != 300 {
		g.t.Errorf("%s %v", claims, err)
	}
	_, _ = w.Write([]byte(`{"access_token":"canary-own","expires_in":3599,"token_type":"Bearer"}`))
}

func (g *google) page(w http.ResponseWriter, r *http.Request, items []string) {
	if len(r.URL.Query()["assetTypes"]) < 5 {
		g.t.Errorf("asked for %v", r.URL.Query())
	}
	from := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("pageToken"), "page-%d", &from)
	to := min(from+g.perPage, len(items))
	next := ""
	if to < len(items) {
		next = fmt.Sprintf(`,"nextPageToken":"page-%d"`, to)
	}
	_, _ = fmt.Fprintf(w, `{"readTime":"2026-11-23T09:00:00Z","assets":[%s]%s}`, strings.Join(items[from:to], ","), next)
}

// resource adds a resource by its type and the rest of its name.
func (g *google) resource(kind, name, data string) {
	service, _, _ := strings.Cut(kind, "/")
	g.resources = append(g.resources, fmt.Sprintf(`{"name":"//%s/projects/%s/%s","assetType":%q,"resource":{"version":"v1","location":"europe-west1","data":%s},"ancestors":["projects/1"]}`, service, project, name, kind, data))
}

func (g *google) policy(kind, name, bindings string) {
	service, _, _ := strings.Cut(kind, "/")
	g.policies = append(g.policies, fmt.Sprintf(`{"name":"//%s/projects/%s/%s","assetType":%q,"iamPolicy":{"bindings":%s}}`, service, project, name, kind, bindings))
}

func (g *google) env() probes.Env {
	return probes.Env{
		Guard:      netguard.New(netguard.Options{AllowPrivate: true}),
		Credential: func(context.Context, string) (string, error) { return keyFile(), nil },
		Cloud:      probes.CloudSettings{URLs: map[string]string{"google": g.URL}},
	}
}

func access() *modelv1.CloudAccess { return &modelv1.CloudAccess{Role: email, ExternalId: proof} }

func hasty() *Provider {
	return &Provider{wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

func clean(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "canary") || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("a secret in %.300s", text)
	}
}

type found struct {
	facts map[string]cloud.Resource // by type and name
	gaps  []cloud.Gap
}

func (g *google) read(t *testing.T) found {
	t.Helper()
	out := found{facts: map[string]cloud.Resource{}}
	gaps, err := hasty().Inventory(t.Context(), g.env(), project, access(), func(r cloud.Resource) error {
		out.facts[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		clean(t, r.Fact.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out.gaps = gaps
	clean(t, fmt.Sprint(gaps))
	return out
}

func TestProveRole(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*google)
		access *modelv1.CloudAccess
		stored string
		code   error
		says   string
	}{
		"good":              {},
		"as another":        {access: &modelv1.CloudAccess{Role: other, ExternalId: proof}},
		"not as another":    {access: &modelv1.CloudAccess{Role: "stranger@demo-project-1.iam.gserviceaccount.com", ExternalId: proof}, code: fault.FailedPrecondition, says: "act as stranger@"},
		"as no account":     {access: &modelv1.CloudAccess{Role: "../x@y.iam.gserviceaccount.com", ExternalId: proof}, code: fault.FailedPrecondition, says: "no service account"},
		"without a proof":   {change: func(g *google) { g.labels = nil }, access: &modelv1.CloudAccess{}},
		"no label":          {change: func(g *google) { g.labels = nil }, code: fault.FailedPrecondition, says: "does not carry the label"},
		"another's proof":   {change: func(g *google) { g.labels = map[string]string{"riskprofiler": proof[1:]} }, code: fault.FailedPrecondition, says: "does not carry the label"},
		"no key":            {stored: `{"type":"service_account","client_email":"` + email + `","private_key":"canary"}`, code: fault.FailedPrecondition, says: "no RSA key"},
		"a user":            {stored: `{"type":"authorized_user","refresh_token":"canary"}`, code: fault.FailedPrecondition, says: "not service_account"},
		"not ours to read":  {change: fails("/v3/projects/"+project, 403, `{"error":{"code":403,"message":"canary","status":"PERMISSION_DENIED"}}`), code: fault.FailedPrecondition, says: "PERMISSION_DENIED"},
		"down":              {change: fails("/v3/projects/"+project, 503, `canary`), code: fault.Unavailable, says: "it fails"},
		"another answers":   {change: fails("/v3/projects/"+project, 200, `{"projectId":"demo-project-2"}`), code: fault.Unavailable, says: "another"},
		"key is gone":       {change: fails("/token", 400, `{"error":"invalid_grant","error_description":"canary"}`), code: fault.FailedPrecondition, says: "invalid_grant"},
		"no token":          {change: fails("/token", 200, `{"id_token":"canary"}`), code: fault.Unavailable, says: "no token"},
		"login goes astray": {change: fails("/token", 302, ``), code: fault.Unavailable, says: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGoogle(t)
			if c.change != nil {
				c.change(g)
			}
			env, how := g.env(), c.access
			if how == nil {
				how = access()
			}
			if c.stored != "" {
				env.Credential = func(context.Context, string) (string, error) { return c.stored, nil }
			}
			err := hasty().ProveRole(t.Context(), env, project, how)
			if c.code == nil && err != nil || c.code != nil && (!errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				clean(t, err.Error())
			}
		})
	}
}

func fails(path string, status int, body string) func(*google) {
	return func(g *google) {
		g.faults[path] = func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusFound {
				w.Header().Set("Location", "https://example.com/")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
}

const everybody = `[{"role":"roles/run.invoker","members":["user:a@example.com","allUsers"]}]`

// estate is a project with something of every kind.
func estate(t *testing.T) *google {
	g := newGoogle(t)
	compute(g)
	g.resource(typeRun, "locations/europe-west1/services/open", `{"ingress":"INGRESS_TRAFFIC_ALL","uri":"https://open-abc-ew.a.run.app","urls":["https://open-123.europe-west1.run.app"]}`)
	g.policy(typeRun, "locations/europe-west1/services/open", everybody)
	g.resource(typeRun, "locations/europe-west1/services/knative", `{"apiVersion":"serving.knative.dev/v1","metadata":{"annotations":{"run.googleapis.com/ingress":"internal"}},"status":{"url":"https://knative-abc-ew.a.run.app"}}`)
	g.policy(typeRun, "locations/europe-west1/services/knative", everybody)
	g.resource(typeRun, "locations/europe-west1/services/asked", `{"metadata":{"annotations":{"run.googleapis.com/urls":"[\"https://asked-123.europe-west1.run.app\"]"}},"status":{"url":"https://asked-abc-ew.a.run.app"}}`)
	g.resource(typeFunction, "locations/us-central1/functions/hook", `{"httpsTrigger":{"url":"https://us-central1-demo-project-1.cloudfunctions.net/hook","securityLevel":"SECURE_OPTIONAL"},"ingressSettings":"ALLOW_ALL"}`)
	g.policy(typeFunction, "locations/us-central1/functions/hook", `[{"role":"roles/cloudfunctions.invoker","members":["allUsers"]}]`)
	g.resource("appengine.googleapis.com/Application", "apps/demo", `{"defaultHostname":"demo-project-1.ew.r.appspot.com","servingStatus":"SERVING"}`)
	g.resource(typeBucket, "buckets/open", `{"name":"open","iamConfiguration":{"publicAccessPrevention":"inherited","uniformBucketLevelAccess":{"enabled":true}},"labels":{"env":"prod"},"website":{"mainPageSuffix":"index.html"}}`)
	g.policy(typeBucket, "buckets/open", `[{"role":"roles/storage.objectViewer","members":["allUsers"]}]`)
	g.resource(typeBucket, "buckets/blocked", `{"name":"blocked","iamConfiguration":{"publicAccessPrevention":"enforced"}}`)
	g.policy(typeBucket, "buckets/blocked", `[{"role":"roles/storage.admin","members":["allAuthenticatedUsers"]}]`)
	g.resource(typeBucket, "buckets/old", `{"name":"old","acl":[{"entity":"allUsers","role":"WRITER"}]}`)
	g.policy(typeBucket, "buckets/timed", `[{"role":"roles/storage.admin","members":["allUsers"],"condition":{"expression":"false"}}]`)
	g.resource(typeBucket, "buckets/timed", `{"name":"timed"}`)
	g.resource("sqladmin.googleapis.com/Instance", "instances/db", `{"databaseVersion":"POSTGRES_16","ipAddresses":[{"type":"PRIMARY","ipAddress":"34.100.1.1"},{"type":"OUTGOING","ipAddress":"34.100.1.2"}],"settings":{"ipConfiguration":{"ipv4Enabled":true,"sslMode":"ENCRYPTED_ONLY","authorizedNetworks":[{"value":"0.0.0.0/0"}]}}}`)
	g.resource("sqladmin.googleapis.com/Instance", "instances/fenced", `{"databaseVersion":"MYSQL_8_0","ipAddresses":[{"type":"PRIMARY","ipAddress":"34.100.1.3"}],"settings":{"ipConfiguration":{"ipv4Enabled":true,"authorizedNetworks":[{"value":"203.0.113.7/32"}]}}}`)
	g.resource("container.googleapis.com/Cluster", "clusters/k8s", `{"currentMasterVersion":"1.31.1-gke.1","endpoint":"34.100.2.1","controlPlaneEndpointsConfig":{"dnsEndpointConfig":{"endpoint":"gke-1.europe-west1.gke.goog","allowExternalTraffic":true}}}`)
	g.resource("container.googleapis.com/Cluster", "clusters/fenced", `{"endpoint":"34.100.2.2","masterAuthorizedNetworksConfig":{"enabled":true,"cidrBlocks":[{"cidrBlock":"203.0.113.0/24"}]}}`)
	g.resource("container.googleapis.com/Cluster", "clusters/inner", `{"endpoint":"10.0.0.2","privateClusterConfig":{"enablePrivateEndpoint":true}}`)
	g.resource("artifactregistry.googleapis.com/Repository", "repositories/images", `{"format":"DOCKER"}`)
	g.policy("artifactregistry.googleapis.com/Repository", "repositories/images", `[{"role":"roles/artifactregistry.reader","members":["allUsers"]}]`)
	g.policy("pubsub.googleapis.com/Topic", "topics/news", `[{"role":"roles/pubsub.publisher","members":["allUsers"]}]`)
	g.policy("secretmanager.googleapis.com/Secret", "secrets/own", `[{"role":"roles/secretmanager.secretAccessor","members":["user:a@example.com"]}]`)
	zones(g)
	return g
}

func compute(g *google) {
	g.resource("compute.googleapis.com/Address", "regions/r/addresses/used", `{"address":"34.102.1.1","status":"IN_USE","addressType":"EXTERNAL","users":["https://www.googleapis.com/compute/v1/projects/demo-project-1/zones/z/instances/web"]}`)
	g.resource("compute.googleapis.com/Address", "regions/r/addresses/left", `{"address":"34.102.1.9","status":"RESERVED","addressType":"EXTERNAL"}`)
	g.resource("compute.googleapis.com/Address", "regions/r/addresses/inner", `{"address":"10.0.0.9","status":"RESERVED","addressType":"INTERNAL"}`)
	const network = `"network":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/networks/default"`
	g.resource("compute.googleapis.com/Instance", "zones/z/instances/web", `{"status":"RUNNING","tags":{"items":["web"]},"serviceAccounts":[{"email":"web@demo-project-1.iam.gserviceaccount.com"}],"networkInterfaces":[{`+network+`,"accessConfigs":[{"natIP":"34.102.1.1"}],"ipv6AccessConfigs":[{"externalIpv6":"2600:1900::1"}]}]}`)
	g.resource("compute.googleapis.com/Instance", "zones/z/instances/plain", `{"status":"RUNNING","networkInterfaces":[{`+network+`,"accessConfigs":[{"natIP":"34.102.1.2"}]}]}`)
	g.resource("compute.googleapis.com/Instance", "zones/z/instances/inner", `{"status":"RUNNING","networkInterfaces":[{`+network+`}]}`)
	g.resource("compute.googleapis.com/Firewall", "global/firewalls/web", `{`+network+`,"direction":"INGRESS","priority":1000,"sourceRanges":["0.0.0.0/0"],"targetTags":["web"],"allowed":[{"IPProtocol":"tcp","ports":["22","8000-8100"]},{"IPProtocol":"icmp"}]}`)
	g.resource("compute.googleapis.com/Firewall", "global/firewalls/no-ssh", `{`+network+`,"direction":"INGRESS","priority":1000,"sourceRanges":["0.0.0.0/0"],"denied":[{"IPProtocol":"6","ports":["22"]}]}`)
	g.resource("compute.googleapis.com/Firewall", "global/firewalls/office", `{`+network+`,"direction":"INGRESS","priority":10,"sourceRanges":["203.0.113.0/24"],"allowed":[{"IPProtocol":"all"}]}`)
	g.resource("compute.googleapis.com/Firewall", "global/firewalls/off", `{`+network+`,"disabled":true,"direction":"INGRESS","sourceRanges":["0.0.0.0/0"],"allowed":[{"IPProtocol":"all"}]}`)
	g.resource("compute.googleapis.com/GlobalForwardingRule", "global/forwardingRules/http", `{"IPAddress":"34.102.1.5","IPProtocol":"TCP","portRange":"80-80","loadBalancingScheme":"EXTERNAL_MANAGED","target":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/targetHttpProxies/p"}`)
	g.resource("compute.googleapis.com/TargetHttpProxy", "global/targetHttpProxies/p", `{"urlMap":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/urlMaps/m"}`)
	g.resource("compute.googleapis.com/UrlMap", "global/urlMaps/m", `{"defaultService":"x"}`)
	g.resource("compute.googleapis.com/GlobalForwardingRule", "global/forwardingRules/https", `{"IPAddress":"34.102.1.5","IPProtocol":"TCP","portRange":"443-443","loadBalancingScheme":"EXTERNAL_MANAGED","target":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/targetHttpsProxies/s"}`)
	g.resource("compute.googleapis.com/TargetHttpsProxy", "global/targetHttpsProxies/s", `{"sslPolicy":"https://www.googleapis.com/compute/v1/projects/demo-project-1/global/sslPolicies/strict"}`)
	g.resource("compute.googleapis.com/SslPolicy", "global/sslPolicies/strict", `{"minTlsVersion":"TLS_1_2","profile":"MODERN"}`)
	g.resource("compute.googleapis.com/ForwardingRule", "regions/r/forwardingRules/inner", `{"IPAddress":"10.0.0.5","IPProtocol":"TCP","allPorts":true,"loadBalancingScheme":"INTERNAL"}`)
}

func zones(g *google) {
	g.resource("dns.googleapis.com/ManagedZone", "managedZones/77", `{"id":"77","name":"public","dnsName":"example.com.","visibility":"public","nameServers":["ns-cloud-a1.googledomains.com."]}`)
	g.resource("dns.googleapis.com/ManagedZone", "managedZones/78", `{"id":78,"name":"private","dnsName":"corp.example.","visibility":"private"}`)
	for name, data := range map[string]string{
		"77/rrsets/www.example.com./A":      `{"name":"www.example.com.","type":"A","ttl":300,"rrdatas":["34.102.1.1"]}`,
		"77/rrsets/lost.example.com./A":     `{"name":"lost.example.com.","type":"A","rrdatas":["34.102.7.7"]}`,
		"77/rrsets/app.example.com./CNAME":  `{"name":"app.example.com.","type":"CNAME","rrdatas":["open-abc-ew.a.run.app."]}`,
		"77/rrsets/gone.example.com./CNAME": `{"name":"gone.example.com.","type":"CNAME","rrdatas":["gone-abc.a.run.app."]}`,
		"77/rrsets/example.com./NS":         `{"name":"example.com.","type":"NS","rrdatas":["ns-cloud-a1.googledomains.com."]}`,
		"77/rrsets/example.com./TXT":        `{"name":"example.com.","type":"TXT","rrdatas":["\"v=spf1 -all\""]}`,
		"78/rrsets/db.corp.example./A":      `{"name":"db.corp.example.","type":"A","rrdatas":["34.102.8.8"]}`,
	} {
		g.resource("dns.googleapis.com/ResourceRecordSet", "managedZones/"+name, data)
	}
}

func TestInventory(t *testing.T) {
	g := estate(t)
	got := g.read(t)
	if len(got.gaps) > 0 {
		t.Fatalf("gaps: %v", got.gaps)
	}
	yes, no := cloud.Yes, cloud.No
	for _, c := range []struct {
		kind, name string
		public     bool
		settings   map[string]string
		addresses  string
		hostnames  string
	}{
		{"compute.googleapis.com/Address", "used", false, map[string]string{cloud.SettingAttached: yes}, "34.102.1.1", ""},
		{"compute.googleapis.com/Address", "left", false, map[string]string{cloud.SettingAttached: no}, "34.102.1.9", ""},
		{"compute.googleapis.com/Instance", "web", true, map[string]string{cloud.SettingOpenToWorld: yes, cloud.SettingInstanceProfile: "web@demo-project-1.iam.gserviceaccount.com"}, "34.102.1.1 2600:1900::1", ""},
		{"compute.googleapis.com/Instance", "plain", false, map[string]string{cloud.SettingOpenToWorld: no}, "34.102.1.2", ""},
		{"compute.googleapis.com/Instance", "inner", false, map[string]string{cloud.SettingOpenToWorld: ""}, "", ""},
		{"compute.googleapis.com/Firewall", "web", true, map[string]string{cloud.SettingAttachedPublic: yes}, "", ""},
		{"compute.googleapis.com/GlobalForwardingRule", "http", true, map[string]string{cloud.SettingPlainHTTP: yes, cloud.SettingScheme: "internet-facing"}, "34.102.1.5", ""},
		{"compute.googleapis.com/GlobalForwardingRule", "https", true, map[string]string{cloud.SettingPlainHTTP: no, cloud.SettingMinimumTLS: cloud.TLS12}, "34.102.1.5", ""},
		{"compute.googleapis.com/ForwardingRule", "inner", false, map[string]string{cloud.SettingScheme: "internal"}, "", ""},
		{typeRun, "open", true, map[string]string{cloud.SettingAuthorizer: cloud.None, cloud.SettingPubliclyAccessible: yes}, "", "open-123.europe-west1.run.app open-abc-ew.a.run.app"},
		{typeRun, "knative", false, map[string]string{cloud.SettingAuthorizer: cloud.None, cloud.SettingPubliclyAccessible: no}, "", "knative-abc-ew.a.run.app"},
		{typeRun, "asked", false, map[string]string{cloud.SettingAuthorizer: "IAM", cloud.SettingPubliclyAccessible: yes}, "", "asked-123.europe-west1.run.app asked-abc-ew.a.run.app"},
		{typeFunction, "hook", true, map[string]string{cloud.SettingAuthorizer: cloud.None, cloud.SettingPlainHTTP: yes}, "", "us-central1-demo-project-1.cloudfunctions.net"},
		{"appengine.googleapis.com/Application", "demo", true, map[string]string{cloud.SettingAuthorizer: ""}, "", "demo-project-1.ew.r.appspot.com"},
		{typeBucket, "open", true, map[string]string{cloud.SettingPublicRead: yes, cloud.SettingPublicList: yes, cloud.SettingPublicWrite: no, cloud.SettingWebsite: yes, cloud.SettingAccessBlock: cloud.BlockNone}, "", ""},
		{typeBucket, "blocked", false, map[string]string{cloud.SettingPublicRead: no, cloud.SettingPublicWrite: no, cloud.SettingAccessBlock: cloud.BlockAll}, "", ""},
		{typeBucket, "old", true, map[string]string{cloud.SettingPublicRead: no, cloud.SettingPublicList: yes, cloud.SettingPublicWrite: yes}, "", ""},
		{typeBucket, "timed", false, map[string]string{cloud.SettingPublicRead: no}, "", ""},
		{"sqladmin.googleapis.com/Instance", "db", true, map[string]string{cloud.SettingOpenToWorld: yes, cloud.SettingEngine: "postgres 16", "plain-connections": no}, "34.100.1.1", ""},
		{"sqladmin.googleapis.com/Instance", "fenced", false, map[string]string{cloud.SettingOpenToWorld: no, cloud.SettingPubliclyAccessible: yes, "plain-connections": yes}, "34.100.1.3", ""},
		{"container.googleapis.com/Cluster", "k8s", true, map[string]string{cloud.SettingOpenToWorld: yes, cloud.SettingEngine: "kubernetes 1.31.1-gke.1"}, "34.100.2.1", "gke-1.europe-west1.gke.goog"},
		{"container.googleapis.com/Cluster", "fenced", false, map[string]string{cloud.SettingOpenToWorld: no, cloud.SettingPubliclyAccessible: yes}, "34.100.2.2", ""},
		{"container.googleapis.com/Cluster", "inner", false, map[string]string{cloud.SettingPubliclyAccessible: no}, "", ""},
		{"artifactregistry.googleapis.com/Repository", "images", true, map[string]string{cloud.SettingAnonymous: yes}, "", ""},
		{"pubsub.googleapis.com/Topic", "news", true, map[string]string{cloud.SettingPolicy: cloud.PolicyPublic, cloud.SettingPolicyActions: "roles/pubsub.publisher"}, "", ""},
		{"dns.googleapis.com/ResourceRecordSet", "lost.example.com", false, map[string]string{cloud.SettingDangling: cloud.DanglingAddress}, "", "lost.example.com"},
		{"dns.googleapis.com/ResourceRecordSet", "gone.example.com", false, map[string]string{cloud.SettingDangling: cloud.DanglingEnvironment}, "", "gone.example.com"},
		{"dns.googleapis.com/ResourceRecordSet", "www.example.com", false, map[string]string{cloud.SettingDangling: ""}, "", "www.example.com"},
		{"dns.googleapis.com/ResourceRecordSet", "app.example.com", false, map[string]string{cloud.SettingDangling: ""}, "", "app.example.com"},
	} {
		r, ok := got.facts[c.kind+" "+c.name]
		f := r.Fact
		if !ok || f.GetPublic() != c.public || f.GetPublic() != (f.GetPublicReason() != "") || strings.Join(f.GetAddresses(), " ") != c.addresses || strings.Join(f.GetHostnames(), " ") != c.hostnames {
			t.Errorf("%s %s: %v", c.kind, c.name, f)
		}
		for name, want := range c.settings {
			if f.GetSettings()[name] != want {
				t.Errorf("%s %s: %s is %q, want %q", c.kind, c.name, name, f.GetSettings()[name], want)
			}
		}
	}
	for _, absent := range []string{"compute.googleapis.com/Address inner", "compute.googleapis.com/Firewall off", "compute.googleapis.com/Firewall office", "compute.googleapis.com/Firewall no-ssh", "secretmanager.googleapis.com/Secret own", "dns.googleapis.com/ResourceRecordSet db.corp.example"} {
		if _, ok := got.facts[absent]; ok {
			t.Errorf("%s was handed over", absent)
		}
	}
	web := got.facts["compute.googleapis.com/Instance web"].Fact
	if len(web.GetIngress()) != 2 || slices.ContainsFunc(web.GetIngress(), func(i *modelv1.CloudIngress) bool { return i.GetProtocol() == "tcp" && i.GetFromPort() == 22 }) {
		t.Errorf("a denial of equal priority comes first: %v", web.GetIngress())
	}
	if g.asked["/token"] != 1 {
		t.Errorf("%d tokens", g.asked["/token"])
	}
}

// What could not be read is named; without policies nothing is said to be closed, and without all resources nothing to be missing.
func TestGaps(t *testing.T) {
	path := "/v1/projects/" + project + "/assets#"
	disabled := `{"error":{"code":403,"message":"canary","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`
	for name, c := range map[string]struct {
		change func(*google)
		api    string
		why    cloud.GapKind
		says   string
		whole  bool
	}{
		"not enabled":       {fails(path+"RESOURCE", 403, disabled), "cloudasset.assets.listResource", cloud.GapFailed, "not enabled", false},
		"resources refused": {fails(path+"RESOURCE", 403, `{"error":{"code":403,"status":"PERMISSION_DENIED"}}`), "cloudasset.assets.listResource", cloud.GapDenied, "PERMISSION_DENIED", false},
		"overrun":           {fails(path+"RESOURCE", 429, `{}`), "cloudasset.assets.listResource", cloud.GapThrottled, "fewer calls", false},
		"nonsense":          {fails(path+"RESOURCE", 200, `{}`), "cloudasset.assets.listResource", cloud.GapFailed, "cannot be read", false},
		"a circle":          {fails(path+"RESOURCE", 200, `{"readTime":"x","nextPageToken":"a"}`), "cloudasset.assets.listResource", cloud.GapFailed, "circle", false},
		"an odd one":        {func(g *google) { g.resource(typeBucket, "buckets/odd", `{"name":5}`) }, typeBucket, cloud.GapFailed, "documented", false},
		"no asset":          {func(g *google) { g.resources = append(g.resources, `{"name":7}`) }, "assets", cloud.GapFailed, "documented", false},
		"policies refused":  {fails(path+"IAM_POLICY", 403, `{"error":{"code":403,"status":"PERMISSION_DENIED"}}`), "cloudasset.assets.listIamPolicy", cloud.GapDenied, "PERMISSION_DENIED", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := estate(t)
			c.change(g)
			got := g.read(t)
			if len(got.gaps) != 1 || got.gaps[0].API != c.api || got.gaps[0].Why != c.why || !strings.Contains(got.gaps[0].Detail, c.says) {
				t.Fatalf("%v", got.gaps)
			}
			for kind, r := range got.facts {
				if !c.whole && r.Fact.GetSettings()[cloud.SettingDangling] != "" {
					t.Errorf("%s: %v", kind, r.Fact)
				}
			}
			if bucket := got.facts[typeBucket+" timed"].Fact; c.whole && (bucket == nil || bucket.GetSettings()[cloud.SettingPublicRead] != "") {
				t.Errorf("it is not known who may read: %v", bucket)
			}
		})
	}
}

// A project may be empty: that is no gap.
func TestEmpty(t *testing.T) {
	g := newGoogle(t)
	if got := g.read(t); len(got.facts) != 0 || len(got.gaps) != 0 {
		t.Errorf("%v", got)
	}
}

func TestEmitEnds(t *testing.T) {
	full, n := errors.New("full"), 0
	_, err := hasty().Inventory(t.Context(), estate(t).env(), project, access(), func(cloud.Resource) error {
		if n++; n > 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || n != 4 {
		t.Errorf("%v after %d", err, n)
	}
}

// FuzzAssets reads pages of the inventory, resources after policies, and puts them together.
func FuzzAssets(f *testing.F) {
	for name := range kinds() {
		f.Add([]byte(`{"assets":[{"name":"//a/projects/p/x","assetType":"` + name + `","resource":{"data":{}},"iamPolicy":{"bindings":[{"role":"roles/run.invoker","members":["allUsers"]}]}}]}`))
	}
	f.Add([]byte(`{"assets":[{"name":"//c/projects/p/i","assetType":"compute.googleapis.com/Instance","resource":{"data":{"networkInterfaces":[{"network":"projects/n","accessConfigs":[{"natIP":"x"}]}]}}},{"name":"//c/f","assetType":"compute.googleapis.com/Firewall","resource":{"data":{"network":"projects/n","allowed":[{"IPProtocol":"tcp","ports":["1-9"]}]}}},null,1]}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		assets, _, err := parseAssets(page)
		if err != nil {
			return
		}
		s := newScan(&session{}, func(r cloud.Resource) error {
			if r.Fact.GetPublic() != (r.Fact.GetPublicReason() != "") {
				t.Errorf("%v", r.Fact)
			}
			return nil
		})
		for _, read := range []func(*asset) error{s.policy, func(a *asset) error { return s.resource(a, map[string]int{}) }} {
			for _, raw := range assets {
				a := &asset{}
				if json.Unmarshal(raw, a) != nil {
					continue
				}
				if err := read(a); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.join(true); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzCredential reads what a tenant stored and what the doors answer; no error shows any of it.
func FuzzCredential(f *testing.F) {
	f.Add([]byte(`{"type":"service_account","client_email":"` + email + `","private_key":"canary","private_key_id":"canary"}`))
	f.Add([]byte(`{"accessToken":"canary x","projectId":"canary","labels":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseCredential(text); err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
		if _, err := parseActAs(text); err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
		_, _, _ = parseProject(text)
	})
}
