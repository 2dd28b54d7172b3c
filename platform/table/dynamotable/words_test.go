package dynamotable_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

// wantWords fails unless an operator reads one line with table, region and remedy.
func wantWords(t *testing.T, err error, code fault.Code, words string) {
	t.Helper()
	t.Log(err)
	if fault.CodeOf(err) != code || strings.Contains(err.Error(), "\n") {
		t.Errorf("error is %v, %v, want %v in one line", fault.CodeOf(err), err, code)
	}
	for _, part := range []string{"table rp-test-things in eu-west-1", words} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestWordsOfRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		code, message string
		want          fault.Code
		words         string
	}{
		"missing table":     {"ResourceNotFoundException", "Requested resource not found", fault.Internal, "it does not exist there; deploy it, or correct region and prefix in RISKPROFILER_BACKEND"},
		"wrong credentials": {"UnrecognizedClientException", "The security token included in the request is invalid.", fault.Internal, "check AWS_PROFILE, AWS_ACCESS_KEY_ID or the role"},
		"expired session":   {"ExpiredTokenException", "The security token included in the request is expired", fault.Internal, "check AWS_PROFILE"},
		"other region":      {"InvalidSignatureException", "Credential should be scoped to a valid region, not 'eu-west-1'. ", fault.Internal, "correct the region in RISKPROFILER_BACKEND"},
		"no permission":     {"AccessDeniedException", "User: x is not authorized to perform: dynamodb:GetItem", fault.Internal, "give this role the actions that its stack lists"},
		"missing index":     {"ValidationException", "The table does not have the specified index: due", fault.Internal, "lacks an index that this version declares; deploy the stack"},
	} {
		t.Run(name, func(t *testing.T) {
			tab := openWith(func(*http.Request) (*http.Response, error) { return refuse(c.code, c.message) }, "due")
			_, get := tab.Get(t.Context(), things)
			_, all := tab.GetAll(t.Context(), []table.Key{things})
			_, query := tab.Query(t.Context(), table.Query{Partition: "p", Index: "due"})
			put := table.Write{Item: table.Item{Key: things}}
			for _, err := range []error{get, all, query, tab.Write(t.Context(), put),
				tab.Write(t.Context(), put, table.Write{Item: table.Item{Key: table.Key{Partition: "q"}}})} {
				wantWords(t, err, c.want, c.words)
			}
		})
	}
	tab := openWith(func(*http.Request) (*http.Response, error) {
		return refuse("ValidationException", "Item size has exceeded the maximum allowed size")
	})
	if err := tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}}); fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), "400 KB") {
		t.Error(err)
	}
}

// TestWordsWithoutServer: nothing listens there. The waits between attempts are those of a bubble.
func TestWordsWithoutServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		tab := openWith(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.URL.Host = address
			return transport.RoundTrip(r)
		})
		_, get := tab.Get(t.Context(), things)
		for _, err := range []error{get, tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}, If: table.Any})} {
			wantWords(t, err, fault.Unavailable, "AWS cannot be reached; check the network, the region and the endpoint in RISKPROFILER_BACKEND")
		}
	})
}

// TestWordsWithoutCredentials: the SDK's default chain finds none.
func TestWordsWithoutCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	cfg, err := awsclient.Load(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	tab := table.New(dynamotable.Open(cfg, location).Table("things"), table.Options{Name: "things"})
	_, get := tab.Get(t.Context(), things)
	for _, err := range []error{get, tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}, If: table.Any})} {
		wantWords(t, err, fault.Internal, "no AWS credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID")
	}
}
