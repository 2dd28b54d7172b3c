package app

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// ownPackages is what the names of our contracts begin with.
const ownPackages = "riskprofiler."

// How a call is tried again (github.com/grpc/proposal/blob/master/A6-client-retries.md). Only what may be done twice is:
// an answer Unavailable does not say whether the call had its effect. What never left this process gRPC itself tries again.
const (
	// retryAttempts are all attempts together. Three pauses of 0.1, 0.2 and 0.4 s (each at random up to that) outlast
	// the moment in which one instance of several goes.
	retryAttempts = 4
	retryFirst    = "0.1s"
	retryMax      = "1s"
	retryGrowth   = 2
	// A failed attempt costs one token of retryTokens and a success earns retryEarned: below half there are no more
	// retries. So against a service that is down amplification ends after 5 calls, and in the long run at most one call
	// in ten is repeated.
	retryTokens = 10
	retryEarned = 0.1
)

type (
	methodName struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryPolicy struct {
		MaxAttempts          int      `json:"maxAttempts"`
		InitialBackoff       string   `json:"initialBackoff"`
		MaxBackoff           string   `json:"maxBackoff"`
		BackoffMultiplier    float64  `json:"backoffMultiplier"`
		RetryableStatusCodes []string `json:"retryableStatusCodes"`
	}
	methodConfig struct {
		Name        []methodName `json:"name"`
		RetryPolicy retryPolicy  `json:"retryPolicy"`
	}
)

// serviceConfig is how calls to other processes are made, in gRPC's own words
// (github.com/grpc/grpc/blob/master/doc/service_config.md): to all instances in turn but those that say that they are not
// well, and again if they may be.
var serviceConfig = sync.OnceValues(func() (string, error) {
	config := map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"healthCheckConfig":   map[string]string{"serviceName": ""},
		"retryThrottling":     map[string]float64{"maxTokens": retryTokens, "tokenRatio": retryEarned},
	}
	if names := idempotentMethods(protoregistry.GlobalFiles); len(names) > 0 {
		config["methodConfig"] = []methodConfig{{Name: names, RetryPolicy: retryPolicy{
			MaxAttempts: retryAttempts, InitialBackoff: retryFirst, MaxBackoff: retryMax, BackoffMultiplier: retryGrowth,
			RetryableStatusCodes: []string{"UNAVAILABLE"},
		}}}
	}
	out, err := json.Marshal(config)
	if err != nil {
		return "", fault.Wrap(fault.Internal, err, "write service config")
	}
	return string(out), nil
})

// idempotentMethods are the unary methods of our contracts that may be done twice, in order.
func idempotentMethods(files *protoregistry.Files) []methodName {
	var out []methodName
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), ownPackages) {
			return true
		}
		for i := range f.Services().Len() {
			service := f.Services().Get(i)
			for j := range service.Methods().Len() {
				if m := service.Methods().Get(j); idempotent(m) {
					out = append(out, methodName{string(service.FullName()), string(m.Name())})
				}
			}
		}
		return true
	})
	slices.SortFunc(out, func(a, b methodName) int {
		return strings.Compare(a.Service+"/"+a.Method, b.Service+"/"+b.Method)
	})
	return out
}

// idempotent reports whether a contract says that a method may be called twice: by its idempotency_level, by being a GET
// in REST (RFC 9110, section 9.2.2), or by being a standard method Get or List (google.aip.dev/131, google.aip.dev/132).
func idempotent(m protoreflect.MethodDescriptor) bool {
	if m.IsStreamingClient() || m.IsStreamingServer() {
		return false
	}
	options, ok := m.Options().(*descriptorpb.MethodOptions)
	if ok && options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN {
		return true
	}
	if rule, ok := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule); ok && rule.GetGet() != "" {
		return true
	}
	return standard(string(m.Name()), "Get") || standard(string(m.Name()), "List")
}

// standard reports whether a method's name is a verb and what follows it: "GetPlan", and not "Getaway".
func standard(name, verb string) bool {
	rest, ok := strings.CutPrefix(name, verb)
	return ok && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z'
}
