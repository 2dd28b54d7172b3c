package gateway

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// collections sends a request to the contracts that have the collection its path begins with: "assets" of /v1/assets/x. A mux
// tries its patterns one after the other, so one mux of all contracts would take the longer the more there are.
type collections map[string]http.Handler

// collectionForm finds the collection in the path of a google.api.http rule: /v1/assets, /v1/{name=assets/*}:verb.
var collectionForm = regexp.MustCompile(`^/v1/(?:\{[a-z0-9_.]+=)?([A-Za-z-]+)`)

// newCollections calls handle once for every set of contracts that share a collection.
func newCollections(handle func(contracts []string) (http.Handler, error)) (collections, error) {
	shown := map[string][]string{}
	for _, r := range routes {
		paths, err := pathsOf(r.contract)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			m := collectionForm.FindStringSubmatch(path)
			if m == nil {
				return nil, fault.New(fault.Internal, "expose %s: the path %s has no collection", r.contract, path)
			}
			if !slices.Contains(shown[m[1]], r.contract) {
				shown[m[1]] = append(shown[m[1]], r.contract)
			}
		}
	}
	c, made := collections{}, map[string]http.Handler{}
	for collection, contracts := range shown {
		set := strings.Join(contracts, " ")
		if made[set] == nil {
			h, err := handle(contracts)
			if err != nil {
				return nil, err
			}
			made[set] = h
		}
		c[collection] = made[set]
	}
	return c, nil
}

// pathsOf are the REST paths of a contract.
func pathsOf(contract string) ([]string, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(contract))
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return nil, fault.New(fault.Internal, "expose %s: the contract is not linked in", contract)
	}
	var paths []string
	for i := range sd.Methods().Len() {
		rule, _ := proto.GetExtension(sd.Methods().Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			for _, path := range []string{r.GetGet(), r.GetPost(), r.GetPut(), r.GetPatch(), r.GetDelete()} {
				if path != "" {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths, nil
}

// ServeHTTP passes the request on.
func (c collections) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if end := strings.IndexAny(path, "/:"); end >= 0 {
		path = path[:end]
	}
	if h := c[path]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	notFound(w, r)
}
