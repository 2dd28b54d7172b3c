package dynamotable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/dynamotable"
)

var location = awsclient.Location{Region: "eu-west-1", Prefix: "rp-test", Endpoint: "http://dynamodb.invalid"}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// openWith is the table "things" over a transport that stands in for AWS.
func openWith(next roundTripper, indexes ...string) *table.Table {
	cfg := aws.Config{
		Region: location.Region, HTTPClient: &http.Client{Transport: next},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	}
	return table.New(dynamotable.Open(cfg, location).Table("things", indexes...), table.Options{Name: "things"})
}

func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}}, nil
}

func refuse(code, message string) (*http.Response, error) {
	body, _ := json.Marshal(map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#" + code, "message": message})
	return answer(http.StatusBadRequest, string(body))
}

func action(r *http.Request) string {
	_, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return name
}

var (
	errLost = errors.New("read tcp: connection reset by peer")
	things  = table.Key{Partition: "p", Sort: "s"}
)

// step is one request that is expected, and how it ends.
type step struct {
	action string
	answer func() (*http.Response, error)
}

func ok(body string) func() (*http.Response, error) {
	return func() (*http.Response, error) { return answer(http.StatusOK, body) }
}

func lost() (*http.Response, error) { return nil, errLost }
func broken() (*http.Response, error) {
	return answer(http.StatusInternalServerError, `{"__type":"InternalServerError"}`)
}
func throttled() (*http.Response, error) {
	return refuse("ProvisionedThroughputExceededException", "too fast")
}
func conflicting() (*http.Response, error) {
	return refuse("TransactionConflictException", "ongoing transaction")
}

// TestLostAnswers: what a single write says after an answer did not come is true.
func TestLostAnswers(t *testing.T) {
	put := func(c table.Condition) table.Write { return table.Write{Item: table.Item{Key: things}, If: c} }
	del := func(c table.Condition) table.Write {
		return table.Write{Delete: true, Item: table.Item{Key: things}, If: c}
	}
	var writer atomic.Value // the "w" of the first request, in base64
	failed := func(item func() string) func() (*http.Response, error) {
		return func() (*http.Response, error) {
			return answer(http.StatusBadRequest, `{"__type":"ConditionalCheckFailedException"`+item()+`}`)
		}
	}
	none := func() string { return "" }
	ours := func() string { return fmt.Sprintf(`,"Item":{"w":{"B":%q}}`, writer.Load()) }
	theirs := func() string { return `,"Item":{"w":{"B":"AAAAAAAAAAA="}}` }
	stored := func() (*http.Response, error) {
		return answer(http.StatusOK, fmt.Sprintf(`{"Item":{"w":{"B":%q}}}`, writer.Load()))
	}
	for name, c := range map[string]struct {
		write table.Write
		steps []step
		want  fault.Code
	}{
		"put if, certain conflict":          {put(3), []step{{"PutItem", failed(theirs)}}, fault.Conflict},
		"put if, throttled, conflict":       {put(3), []step{{"PutItem", throttled}, {"PutItem", failed(theirs)}}, fault.Conflict},
		"put if, in a transaction":          {put(3), []step{{"PutItem", conflicting}, {"PutItem", ok("{}")}}, fault.OK},
		"put if, lost, sent again":          {put(3), []step{{"PutItem", lost}, {"PutItem", ok("{}")}}, fault.OK},
		"put if, lost, it was us":           {put(3), []step{{"PutItem", lost}, {"PutItem", failed(ours)}}, fault.OK},
		"put if, 500, it was us":            {put(0), []step{{"PutItem", broken}, {"PutItem", failed(ours)}}, fault.OK},
		"put if, lost, somebody else":       {put(3), []step{{"PutItem", lost}, {"PutItem", failed(theirs)}}, fault.Unavailable},
		"put if, lost, gone":                {put(3), []step{{"PutItem", lost}, {"PutItem", failed(none)}}, fault.Unavailable},
		"put any, throttled":                {put(-1), []step{{"UpdateItem", throttled}, {"UpdateItem", ok("{}")}}, fault.OK},
		"put any, lost, it is there":        {put(-1), []step{{"UpdateItem", lost}, {"GetItem", stored}}, fault.OK},
		"put any, lost, it is not there":    {put(-1), []step{{"UpdateItem", lost}, {"GetItem", ok("{}")}}, fault.Unavailable},
		"delete if, certain conflict":       {del(3), []step{{"DeleteItem", failed(none)}}, fault.Conflict},
		"delete if, lost, sent again":       {del(3), []step{{"DeleteItem", lost}, {"DeleteItem", ok("{}")}}, fault.OK},
		"delete if, lost, conflict":         {del(3), []step{{"DeleteItem", lost}, {"DeleteItem", failed(none)}}, fault.Unavailable},
		"delete any, lost, gone":            {del(-1), []step{{"DeleteItem", lost}, {"GetItem", ok("{}")}}, fault.OK},
		"delete any, lost, there":           {del(-1), []step{{"DeleteItem", lost}, {"GetItem", stored}}, fault.Unavailable},
		"check by a read, nobody there":     {table.Write{Check: true, Item: table.Item{Key: things}}, []step{{"GetItem", ok("{}")}}, fault.OK},
		"check by a read, lost, sent again": {table.Write{Check: true, Item: table.Item{Key: things}, If: 2}, []step{{"GetItem", lost}, {"GetItem", ok(`{"Item":{"rev":{"N":"3"}}}`)}}, fault.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				tab := openWith(func(r *http.Request) (*http.Response, error) {
					if n == len(c.steps) || action(r) != c.steps[n].action {
						t.Errorf("request %d is %s", n, action(r))
						return refuse("Unexpected", "")
					}
					if n++; n == 1 {
						writer.Store(writerOf(t, r))
					}
					return c.steps[n-1].answer()
				})
				if err := tab.Write(t.Context(), c.write); fault.CodeOf(err) != c.want || n != len(c.steps) {
					t.Errorf("%d of %d requests, error is %v, want %v", n, len(c.steps), err, c.want)
				}
			})
		})
	}
}

// writerOf finds the attribute "w" in a put or an update.
func writerOf(t *testing.T, r *http.Request) string {
	t.Helper()
	var body struct {
		Item, ExpressionAttributeValues map[string]map[string]any
		ExpressionAttributeNames        map[string]string
		UpdateExpression                string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if w, there := body.Item["w"]; there {
		return w["B"].(string)
	}
	for placeholder, name := range body.ExpressionAttributeNames {
		if _, rest, found := strings.Cut(body.UpdateExpression, placeholder+" = "); found && name == "w" {
			value, _, _ := strings.Cut(rest, ",")
			value, _, _ = strings.Cut(value, " ")
			return body.ExpressionAttributeValues[value]["B"].(string)
		}
	}
	return ""
}

// TestTransactions: reasons of a cancelled transaction.
func TestTransactions(t *testing.T) {
	cancelled := func(codes ...string) func() (*http.Response, error) {
		var reasons []map[string]string
		for _, code := range codes {
			reasons = append(reasons, map[string]string{"Code": code})
		}
		body, _ := json.Marshal(map[string]any{"__type": "TransactionCanceledException", "CancellationReasons": reasons})
		return func() (*http.Response, error) { return answer(http.StatusBadRequest, string(body)) }
	}
	busy := cancelled("None", "TransactionConflict")
	for name, c := range map[string]struct {
		answers  []func() (*http.Response, error)
		want     fault.Code
		position int
	}{
		"first condition":             {[]func() (*http.Response, error){cancelled("ConditionalCheckFailed", "None")}, fault.Conflict, 0},
		"second condition":            {[]func() (*http.Response, error){cancelled("None", "ConditionalCheckFailed")}, fault.Conflict, 1},
		"condition and a transaction": {[]func() (*http.Response, error){cancelled("TransactionConflict", "ConditionalCheckFailed")}, fault.Conflict, 1},
		"busy, then free":             {[]func() (*http.Response, error){busy, cancelled("ThrottlingError", "None"), ok("{}")}, fault.OK, 0},
		"lost, then known":            {[]func() (*http.Response, error){lost, ok("{}")}, fault.OK, 0},
		"in progress, then known": {[]func() (*http.Response, error){lost,
			func() (*http.Response, error) { return refuse("TransactionInProgressException", "in progress") }, ok("{}")}, fault.OK, 0},
		"not allowed": {[]func() (*http.Response, error){cancelled("ValidationError", "None")}, fault.Internal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				var tokens []string
				tab := openWith(func(r *http.Request) (*http.Response, error) {
					tokens = append(tokens, token(t, r))
					n++
					return c.answers[n-1]()
				})
				err := tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}}, table.Write{Item: table.Item{Key: table.Key{Partition: "q"}}, If: table.Any})
				if fault.CodeOf(err) != c.want || n != len(c.answers) {
					t.Fatalf("%d of %d requests, error is %v, want %v", n, len(c.answers), err, c.want)
				}
				var conflict *table.ConflictError
				if errors.As(err, &conflict) && conflict.Position != c.position {
					t.Errorf("conflict is at %d, want %d", conflict.Position, c.position)
				}
				for _, other := range tokens {
					if other == "" || other != tokens[0] {
						t.Errorf("client tokens are %q", tokens)
					}
				}
			})
		})
	}
	t.Run("busy for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tab := openWith(func(*http.Request) (*http.Response, error) { return busy() })
			start := time.Now()
			err := tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}}, table.Write{Item: table.Item{Key: table.Key{Partition: "q"}}})
			if !errors.Is(err, fault.Unavailable) || time.Since(start) > time.Minute {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	})
}

func token(t *testing.T, r *http.Request) string {
	t.Helper()
	var body struct{ ClientRequestToken string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.ClientRequestToken
}

// TestThrottling: with 30 % of all requests throttled for ten minutes nothing is lost, nothing is done twice, and requests are
// at most half as many again as calls: 1/0.7, since every call has to succeed in the end.
func TestThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		requests, executed := 0, 0
		tab := openWith(func(*http.Request) (*http.Response, error) {
			requests++
			if random.Float64() < 0.3 {
				return throttled()
			}
			executed++
			return answer(http.StatusOK, "{}")
		})
		calls := 0
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(50 * time.Millisecond) {
			calls++
			if err := tab.Write(t.Context(), table.Write{Item: table.Item{Key: things}, If: table.Any}); err != nil {
				t.Fatalf("call %d: %v", calls, err)
			}
		}
		t.Logf("%d calls, %d requests: amplification %.2f", calls, requests, float64(requests)/float64(calls))
		if executed != calls || float64(requests) > 1.5*float64(calls) {
			t.Errorf("%d calls made %d requests, of which %d were executed", calls, requests, executed)
		}
	})
}

// TestThrottlingHard: where nothing gets through, the budget ends the retries.
func TestThrottlingHard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		tab := openWith(func(*http.Request) (*http.Response, error) {
			requests++
			return throttled()
		})
		const calls = 5000
		for range calls {
			_, err := tab.Get(t.Context(), things)
			if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "AWS throttles the requests") || strings.Contains(err.Error(), "\n") {
				t.Fatal(err)
			}
		}
		if float64(requests) > 1.1*calls {
			t.Errorf("%d calls made %d requests", calls, requests)
		}
	})
}
