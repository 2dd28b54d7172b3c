package azure

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

const (
	subscription = "cfbbd179-59d2-4052-aa06-9270a38aa9d6"
	client       = "11111111-2222-3333-4444-555555555555"
	directory    = "contoso.onmicrosoft.com"
	secret       = "canary-secret"
	token        = "canary-token"
	proof        = "riskprofiler-00112233445566778899aabbccddeeff"
	groupPath    = "/subscriptions/" + subscription + "/resourceGroups/RG1/providers/"
	stored       = `{"tenant":"` + directory + `","client_id":"` + client + `","client_secret":"` + secret + `"}`
)

// azure is a server that answers as Entra ID and Azure Resource Manager document it, for one subscription.
type azure struct {
	*httptest.Server
	t *testing.T

	mu sync.Mutex
	// tags are of the subscription, rows what Resource Graph has, lists other listings by path in lower case, answers anything else.
	tags        map[string]string
	rows        []string
	lists       map[string][]string
	answers     map[string]string
	permissions string
	// perPage is as much as one page has.
	perPage int
	// faults replace the answer of a path.
	faults map[string]http.HandlerFunc
	forms  []string
	asked  map[string]int
}

func newAzure(t *testing.T) *azure {
	t.Helper()
	a := &azure{
		t: t, tags: map[string]string{"RiskProfiler": proof}, lists: map[string][]string{}, answers: map[string]string{}, perPage: 2,
		permissions: `{"value":[{"actions":["*/read"],"notActions":[]}]}`, faults: map[string]http.HandlerFunc{}, asked: map[string]int{},
	}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *azure) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	path := strings.ToLower(r.URL.Path)
	a.asked[path]++
	if f := a.faults[path]; f != nil {
		f(w, r)
		return
	}
	if path == "/"+directory+"/oauth2/v2.0/token" {
		if err := r.ParseForm(); err != nil {
			a.t.Error(err)
		}
		a.forms = append(a.forms, r.PostForm.Encode())
		if r.PostForm.Get("client_secret") != secret && r.PostForm.Get("client_assertion") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"AADSTS7000215: ` + secret + `","error_codes":[7000215]}`))
			return
		}
		_, _ = w.Write([]byte(`{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"` + token + `"}`))
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token || r.URL.Query().Get("api-version") == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch {
	case path == "/subscriptions/"+subscription:
		a.write(w, map[string]any{"id": path, "subscriptionId": subscription, "displayName": "Demo", "state": "Enabled", "tags": a.tags})
	case strings.HasSuffix(path, "/microsoft.authorization/permissions"):
		_, _ = w.Write([]byte(a.permissions))
	case path == "/providers/microsoft.resourcegraph/resources":
		a.graph(w, r)
	case a.answers[path] != "":
		_, _ = w.Write([]byte(a.answers[path]))
	case a.lists[path] != nil:
		a.list(w, r, a.lists[path])
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":{"code":"ResourceNotFound","message":"` + token + `"}}`))
	}
}

func (a *azure) write(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		a.t.Error(err)
	}
	_, _ = w.Write(raw)
}

// graph answers page by page, with tokens that only it understands.
func (a *azure) graph(w http.ResponseWriter, r *http.Request) {
	var q graphQuery
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Subscriptions) != 1 || q.Subscriptions[0] != subscription || !strings.Contains(q.Query, "project id") {
		a.t.Errorf("graph: %v %v", q, err)
	}
	from := 0
	_, _ = fmt.Sscanf(q.Options.Skip, "page-%d", &from)
	to := min(from+a.perPage, len(a.rows))
	skip := ""
	if to < len(a.rows) {
		skip = fmt.Sprintf(`"$skipToken":"page-%d",`, to)
	}
	_, _ = fmt.Fprintf(w, `{"totalRecords":%d,"count":%d,"resultTruncated":"false","facets":[],%s"data":[%s]}`, len(a.rows), to-from, skip, strings.Join(a.rows[from:to], ","))
}

func (a *azure) list(w http.ResponseWriter, r *http.Request, items []string) {
	from := 0
	_, _ = fmt.Sscanf(r.URL.Query().Get("$skipToken"), "%d", &from)
	to := min(from+a.perPage, len(items))
	next := ""
	if to < len(items) {
		next = fmt.Sprintf(`,"nextLink":"%s%s?api-version=%s&$skipToken=%d"`, a.URL, r.URL.Path, r.URL.Query().Get("api-version"), to)
	}
	_, _ = fmt.Fprintf(w, `{"value":[%s]%s}`, strings.Join(items[from:to], ","), next)
}

// row adds a resource.
func (a *azure) row(kind, name, more, properties string) string {
	id := groupPath + kind + "/" + name
	if more != "" {
		more = "," + more
	}
	a.rows = append(a.rows, fmt.Sprintf(`{"id":%q,"name":%q,"type":%q,"location":"westeurope","tags":{"env":"prod"}%s,"properties":%s}`, id, name, strings.ToLower(kind), more, properties))
	return id
}

func (a *azure) env() probes.Env {
	return probes.Env{
		Guard:      netguard.New(netguard.Options{AllowPrivate: true}),
		Credential: func(context.Context, string) (string, error) { return stored, nil },
		Cloud:      probes.CloudSettings{URLs: map[string]string{"azure": a.URL, "azure-login": a.URL}},
	}
}

func access() *modelv1.CloudAccess { return &modelv1.CloudAccess{Role: client, ExternalId: proof} }

// hasty waits for nothing but is done when the context is.
func hasty() *Provider {
	return &Provider{wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// found is what one reading found.
type found struct {
	facts map[string]cloud.Resource // by type and name
	gaps  []cloud.Gap
}

func (f found) fact(t *testing.T, kind, name string) *modelv1.CloudFact {
	t.Helper()
	r, ok := f.facts[kind+" "+name]
	if !ok {
		t.Fatalf("there is no %s %s among %d", kind, name, len(f.facts))
	}
	return r.Fact
}

func (a *azure) read(t *testing.T) found {
	t.Helper()
	out := found{facts: map[string]cloud.Resource{}}
	gaps, err := hasty().Inventory(t.Context(), a.env(), subscription, access(), func(r cloud.Resource) error {
		out.facts[r.Fact.GetType()+" "+r.Fact.GetName()] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out.gaps = gaps
	for _, r := range out.facts {
		if r.Fact.GetId() != strings.ToLower(r.Fact.GetId()) || r.Fact.GetType() == "" {
			t.Errorf("fact %v", r.Fact)
		}
		clean(t, r.Fact.String())
	}
	clean(t, fmt.Sprint(gaps))
	return out
}

// clean looks for secrets.
func clean(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "canary") {
		t.Errorf("a secret in %.300s", text)
	}
}
