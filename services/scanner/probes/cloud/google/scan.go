package google

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/rest"
)

// perPage is asked of assets.list; 1,000 is the most.
const perPage = "500"

// asset is one entry of assets.list (cloud.google.com/asset-inventory/docs/reference/rest/v1/Asset). The resource's data is what the
// resource's own API gives.
type asset struct {
	Name     string `json:"name"`
	Type     string `json:"assetType"`
	Resource struct {
		Location string          `json:"location"`
		Parent   string          `json:"parent"`
		Data     json.RawMessage `json:"data"`
	} `json:"resource"`
	Policy struct {
		Bindings []binding `json:"bindings"`
	} `json:"iamPolicy"`
}

// kind is how one type of resource is read.
type kind struct {
	name string
	read func(*scan, *asset) error
}

// kinds are the types that can show something to the internet, by their names.
func kinds() map[string]kind {
	out := map[string]kind{}
	for _, list := range [][]kind{networkKinds, webKinds, dataKinds} {
		for _, k := range list {
			out[k.name] = k
		}
	}
	return out
}

// scan is one reading of a project.
type scan struct {
	*rest.Filing

	session  *session
	kinds    map[string]kind
	network  network
	zones    map[string]bool // private ones, by their names and numbers
	records  []*record
	policies map[string]*grants // of resources, by their names
	project  grants
	// granted says that policies were read: without them nothing is said to be closed.
	granted bool
}

func newScan(s *session, emit func(cloud.Resource) error) *scan {
	return &scan{session: s, kinds: kinds(), zones: map[string]bool{}, policies: map[string]*grants{}, Filing: rest.NewFiling(emit)}
}

// run reads policies first, which say what everybody may do, then resources, then puts together what belongs together.
func (s *scan) run(ctx context.Context) ([]cloud.Gap, error) {
	types := append([]string{typeProject}, publishable...)
	err := s.list(ctx, "IAM_POLICY", types, s.policy)
	s.granted = err == nil
	if err := s.Gap(err, "cloudasset.assets.listIamPolicy"); err != nil {
		return s.Gaps(), err
	}
	types = types[:0]
	for name := range s.kinds {
		types = append(types, name)
	}
	slices.Sort(types)
	bad := map[string]int{}
	err = s.list(ctx, "RESOURCE", types, func(a *asset) error { return s.resource(a, bad) })
	for name := range bad {
		_ = s.Gap(rest.Broken("some of them are not as documented"), name) // nil: nothing was emitted
	}
	if err := s.Gap(err, "cloudasset.assets.listResource"); err != nil {
		return s.Gaps(), err
	}
	err = s.join(err == nil && len(bad) == 0)
	return s.Gaps(), err
}

// list reads all assets of some types.
func (s *scan) list(ctx context.Context, content string, types []string, each func(*asset) error) error {
	query := url.Values{"contentType": {content}, "assetTypes": types, "pageSize": {perPage}}
	request := func() rest.Request {
		return rest.Request{Method: http.MethodGet, URL: s.session.at.assets + "/v1/projects/" + s.session.project + "/assets?" + query.Encode()}
	}
	return s.session.read.Pages(ctx, request(), func(page []byte) (rest.Request, error) {
		assets, next, err := parseAssets(page)
		if err != nil {
			return rest.Request{}, err
		}
		for _, raw := range assets {
			a := &asset{}
			if json.Unmarshal(raw, a) != nil || a.Name == "" {
				a = &asset{} // counted by who reads it
			}
			if err := each(a); err != nil {
				return rest.Request{}, err
			}
		}
		if next == "" {
			return rest.Request{}, nil
		}
		query.Set("pageToken", next)
		return request(), nil
	})
}

// parseAssets reads one page of assets.list. A project without any has no list in its answer, but always the time of it.
func parseAssets(page []byte) (assets []json.RawMessage, next string, err error) {
	var answer struct {
		At     string            `json:"readTime"`
		Assets []json.RawMessage `json:"assets"`
		Next   string            `json:"nextPageToken"`
	}
	if json.Unmarshal(page, &answer) != nil || answer.At == "" && answer.Assets == nil {
		return nil, "", rest.Broken("its answer cannot be read")
	}
	return answer.Assets, answer.Next, nil
}

// resource reads one resource. One that is not as documented is counted.
func (s *scan) resource(a *asset, bad map[string]int) error {
	k, known := s.kinds[a.Type]
	if !known {
		if a.Type == "" {
			bad["assets"]++
		}
		return nil
	}
	err := k.read(s, a)
	if rest.Ends(err) {
		return err
	}
	if err != nil {
		bad[k.name]++
	}
	return nil
}

// join hands over what needs more than one resource. whole says that all resources were read: without that nothing is said to be missing.
func (s *scan) join(whole bool) error {
	if err := s.joinNetwork(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.policies)) {
		if err := s.shared(name, s.policies[name]); err != nil {
			return err
		}
	}
	for _, r := range s.records {
		if !s.private(r.zone) {
			if err := s.Emit(s.record(r, whole)); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode reads a resource's data.
func (a *asset) decode(into any) error {
	if len(a.Resource.Data) == 0 {
		return rest.Broken("there is no data")
	}
	return json.Unmarshal(a.Resource.Data, into)
}

// fact begins the fact of a resource.
func (a *asset) fact() *modelv1.CloudFact {
	return &modelv1.CloudFact{
		Type: a.Type, Id: a.Name, Name: last(a.Name), Region: a.Resource.Location, Settings: map[string]string{},
	}
}

// last is the last part of a path or URL.
func last(path string) string { return path[strings.LastIndex(path, "/")+1:] }

// relative is a resource's name without its host and version: instances name their network by URL, others by path.
func relative(url string) string {
	if i := strings.Index(url, "projects/"); i >= 0 {
		return url[i:]
	}
	return url
}

// open marks a fact as public, with the reason.
func open(f *modelv1.CloudFact, public bool, why string) {
	if public {
		f.Public, f.PublicReason = true, why
	}
}
