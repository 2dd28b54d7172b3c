package gateway

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/metadata"

	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

func TestCredentialOf(t *testing.T) {
	for _, c := range []struct {
		name string
		md   metadata.MD
		want string
	}{
		{"bearer", metadata.Pairs("authorization", "Bearer rp_x"), "rp_x"},
		{"bearer in lower case", metadata.Pairs("authorization", "bearer rp_x"), "rp_x"},
		{"own header", metadata.Pairs("x-api-key", "rp_x"), "rp_x"},
		{"nothing", nil, ""},
		{"another scheme", metadata.Pairs("authorization", "Basic rp_x"), ""},
		{"no scheme", metadata.Pairs("authorization", "rp_x"), ""},
		{"two headers", metadata.Pairs("authorization", "Bearer rp_x", "x-api-key", "rp_y"), ""},
		{"one header twice", metadata.Pairs("x-api-key", "rp_x", "x-api-key", "rp_y"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := credentialOf(metadata.NewIncomingContext(t.Context(), c.md))
			if got != c.want || (c.want == "") != errors.Is(err, fault.Unauthenticated) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestQueryParser(t *testing.T) {
	parser, none := &queryParser{}, utilities.NewDoubleArray(nil)
	req := &correlatorv1.ListRisksRequest{}
	if err := parser.Parse(req, url.Values{"pageSize": {"7"}, "order_by": {"due_time"}}, none); err != nil {
		t.Fatal(err)
	}
	if req.GetPageSize() != 7 || req.GetOrderBy() != "due_time" {
		t.Errorf("parsed %v", req)
	}
	for query, want := range map[string]string{
		"pagesize=7": `"pagesize" is not known`, "page_size=many": `"page_size" takes a number`, "tenant=acme": `"tenant" is not known`,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if err := parser.Parse(&correlatorv1.ListRisksRequest{}, values, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", query, err, want)
		}
	}
}
