package azure

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// rowsPerPage is asked of Resource Graph; 1,000 is the most (learn.microsoft.com/azure/governance/resource-graph/concepts/work-with-data).
const rowsPerPage = 500

// askers is how many resources are asked about at a time.
const askers = 4

// row is one resource as Resource Graph tells it. Its type is in lower case there, ids in any.
type row struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Location   string            `json:"location"`
	Kind       string            `json:"kind"`
	Tags       map[string]string `json:"tags"`
	Identity   identity          `json:"identity"`
	SKU        sku               `json:"sku"`
	Properties json.RawMessage   `json:"properties"`
}

type identity struct {
	Type string `json:"type"`
}

type sku struct {
	Name string `json:"name"`
}

type ref struct {
	ID string `json:"id"`
}

// key is the id of a resource as it is compared: ids have no case.
func (r ref) key() string { return strings.ToLower(r.ID) }

// kind is how one type of resource is read.
type kind struct {
	// name is the type as it is written in documentation.
	name string
	read func(*scan, *row) error
}

// kinds are the types that can show something to the internet, by their names in lower case.
func kinds() map[string]kind {
	out := map[string]kind{}
	for _, list := range [][]kind{networkKinds, webKinds, dataKinds} {
		for _, k := range list {
			out[strings.ToLower(k.name)] = k
		}
	}
	return out
}

// scan is one reading of a subscription.
type scan struct {
	*rest.Filing

	session *session
	kinds   map[string]kind
	network network
	zones   []zone
	// later are the questions to single resources, after the inventory.
	later []func(context.Context) error
	// whole says that all resources were read: without that nothing is said to be missing.
	whole bool
}

func newScan(s *session, emit func(cloud.Resource) error) *scan {
	return &scan{session: s, kinds: kinds(), Filing: rest.NewFiling(emit), network: newNetwork()}
}

// run reads everything. The error is of emit.
func (s *scan) run(ctx context.Context) ([]cloud.Gap, error) {
	s.permissions(ctx)
	if err := s.inventory(ctx); err != nil {
		return s.Gaps(), err
	}
	s.whole = len(s.Gaps()) == 0
	if err := s.join(); err != nil {
		return s.Gaps(), err
	}
	if err := s.ask(ctx); err != nil {
		return s.Gaps(), err
	}
	err := s.records(ctx)
	return s.Gaps(), err
}

// permissions makes a gap of a role that does not read the whole subscription: Resource Graph leaves out what the caller may not read.
func (s *scan) permissions(ctx context.Context) {
	const api = "Reader at the scope of the subscription"
	body, err := s.session.manage.Get(ctx, s.session.url("/subscriptions/"+s.session.subscription+"/providers/Microsoft.Authorization/permissions", versionPermissions))
	all := false
	if err == nil {
		if all, err = readsAll(body); err != nil {
			err = rest.Broken("its answer cannot be read")
		}
	}
	if err != nil {
		_ = s.Gap(err, api) // nil: nothing was emitted
	} else if !all {
		s.Lack(cloud.Gap{API: api, Why: cloud.GapDenied, Detail: "only a part of the subscription is shown"})
	}
}

// inventory reads all resources of the kinds that matter from Resource Graph.
func (s *scan) inventory(ctx context.Context) error {
	const api = "Microsoft.ResourceGraph/resources/read"
	names := make([]string, 0, len(s.kinds))
	for name := range s.kinds {
		names = append(names, "'"+name+"'")
	}
	query := graphQuery{
		Subscriptions: []string{s.session.subscription},
		Query:         "resources | where type in~ (" + strings.Join(names, ",") + ") | project id, name, type, location, kind, tags, identity, sku, properties | order by id asc",
		Options:       graphOptions{Top: rowsPerPage, Format: "objectArray"},
	}
	bad := map[string]int{}
	err := s.session.manage.Pages(ctx, s.graphRequest(query), func(page []byte) (rest.Request, error) {
		rows, skip, err := parseGraph(page)
		if err != nil {
			return rest.Request{}, err
		}
		for _, raw := range rows {
			if err := s.row(raw, bad); err != nil {
				return rest.Request{}, err
			}
		}
		if skip == "" {
			return rest.Request{}, nil
		}
		query.Options.Skip = skip
		return s.graphRequest(query), nil
	})
	for name := range bad {
		_ = s.Gap(rest.Broken("some of them are not as documented"), name+"/read") // nil: nothing was emitted
	}
	return s.Gap(err, api)
}

// row reads one resource. One that is not as documented is counted.
func (s *scan) row(raw json.RawMessage, bad map[string]int) error {
	r := &row{}
	if err := json.Unmarshal(raw, r); err != nil || r.ID == "" {
		bad["resources"]++
		return nil //nolint:nilerr // it is counted, and the others are read
	}
	k, known := s.kinds[strings.ToLower(r.Type)]
	if !known {
		return nil
	}
	r.Type = k.name
	err := k.read(s, r)
	if rest.Ends(err) {
		return err
	}
	if err != nil {
		bad[k.name]++
	}
	return nil
}

// graphQuery is the question of Resource Graph (Microsoft.ResourceGraph, Resources).
type graphQuery struct {
	Subscriptions []string     `json:"subscriptions"`
	Query         string       `json:"query"`
	Options       graphOptions `json:"options"`
}

type graphOptions struct {
	Top    int    `json:"$top"`
	Skip   string `json:"$skipToken,omitempty"`
	Format string `json:"resultFormat"`
}

func (s *scan) graphRequest(q graphQuery) rest.Request {
	body, _ := json.Marshal(q) // texts and a number: it has no error
	return rest.Request{Method: http.MethodPost, URL: s.session.url("/providers/Microsoft.ResourceGraph/resources", versionGraph), ContentType: "application/json", Body: body}
}

// parseGraph reads one answer: its rows, and the token of the next page. An answer that was truncated without one is not all there is.
func parseGraph(page []byte) (rows []json.RawMessage, skip string, err error) {
	var answer struct {
		Truncated string            `json:"resultTruncated"`
		Skip      string            `json:"$skipToken"`
		Data      []json.RawMessage `json:"data"`
	}
	if json.Unmarshal(page, &answer) != nil || answer.Data == nil {
		return nil, "", rest.Broken("its answer cannot be read")
	}
	if strings.EqualFold(answer.Truncated, "true") && answer.Skip == "" {
		return nil, "", rest.Broken("its answer was cut")
	}
	return answer.Data, answer.Skip, nil
}

// ask asks about single resources, a few at a time.
func (s *scan) ask(ctx context.Context) error {
	var once sync.Once
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := together.Limit(askers)
	for _, question := range s.later {
		all.Go(func() {
			if err := question(ctx); err != nil {
				once.Do(func() { failed = err })
				cancel()
			}
		})
	}
	all.Wait()
	return failed
}

// list reads a listing of Azure Resource Manager: {"value": [...], "nextLink": "..."}.
func (s *scan) list(ctx context.Context, url string, item func(json.RawMessage) error) error {
	return s.session.manage.Pages(ctx, rest.Request{Method: http.MethodGet, URL: url}, func(page []byte) (rest.Request, error) {
		items, next, err := parseList(page)
		if err != nil {
			return rest.Request{}, err
		}
		for _, raw := range items {
			if err := item(raw); err != nil {
				return rest.Request{}, err
			}
		}
		return rest.Request{Method: http.MethodGet, URL: next}, nil
	})
}

// parseList reads one page of a listing.
func parseList(page []byte) (items []json.RawMessage, next string, err error) {
	var answer struct {
		Value []json.RawMessage `json:"value"`
		Next  string            `json:"nextLink"`
	}
	if json.Unmarshal(page, &answer) != nil || answer.Value == nil {
		return nil, "", rest.Broken("its answer cannot be read")
	}
	return answer.Value, answer.Next, nil
}

// fact begins the fact of a resource. Ids are in lower case: Azure gives the same one in another case the next time.
func (r *row) fact() *modelv1.CloudFact {
	return &modelv1.CloudFact{
		Type: r.Type, Id: strings.ToLower(r.ID), Name: r.Name, Region: r.Location, Tags: r.Tags, Settings: map[string]string{},
	}
}

// open marks a fact as public, with the reason.
func open(f *modelv1.CloudFact, public bool, why string) {
	if public {
		f.Public, f.PublicReason = true, why
	}
}
