package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/riskprofiler/riskprofiler/gen"
	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
	"github.com/riskprofiler/riskprofiler/platform/wire"
)

// Paths beside the API.
const (
	openAPIPath = "/openapi.json"
	healthPath  = "/healthz"
)

// snapshotHeader tells who watches that the answer was not kept open: unless its last event is the end, ask again.
const snapshotHeader = "Riskprofiler-Snapshot"

// jsonMarshaler writes every field of an answer, so that scripts need to know no defaults, and refuses fields of a request
// that the contract does not have.
var jsonMarshaler = &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
	MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true},
}}

// register adds the REST handlers of a contract to a mux.
type register func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error

// contracts are the generated handlers by contract.
var contracts = map[string]register{
	accessv1.AccessService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return accessv1.RegisterAccessServiceHandlerClient(ctx, mux, accessv1.NewAccessServiceClient(conn))
	},
	operationsv1.OperationsService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return operationsv1.RegisterOperationsServiceHandlerClient(ctx, mux, operationsv1.NewOperationsServiceClient(conn))
	},
	ingestv1.IngestService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return ingestv1.RegisterIngestServiceHandlerClient(ctx, mux, ingestv1.NewIngestServiceClient(conn))
	},
	schedulerv1.SchedulerService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return schedulerv1.RegisterSchedulerServiceHandlerClient(ctx, mux, schedulerv1.NewSchedulerServiceClient(conn))
	},
	scannerv1.ScannerService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return scannerv1.RegisterScannerServiceHandlerClient(ctx, mux, scannerv1.NewScannerServiceClient(conn))
	},
	correlatorv1.CorrelatorService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return correlatorv1.RegisterCorrelatorServiceHandlerClient(ctx, mux, correlatorv1.NewCorrelatorServiceClient(conn))
	},
	reporterv1.ReporterService_ServiceDesc.ServiceName: func(ctx context.Context, mux *runtime.ServeMux, conn grpc.ClientConnInterface) error {
		return reporterv1.RegisterReporterServiceHandlerClient(ctx, mux, reporterv1.NewReporterServiceClient(conn))
	},
}

// newREST makes the REST handler: the same calls over the same chain as gRPC.
func newREST(conn grpc.ClientConnInterface, e *edge) (http.Handler, error) {
	api, err := newCollections(func(shown []string) (http.Handler, error) { return newContracts(shown, conn, e) })
	if err != nil {
		return nil, err
	}
	root := http.NewServeMux()
	root.Handle("/v1/", http.MaxBytesHandler(api, wire.MaxMessageBytes))
	root.HandleFunc("GET "+openAPIPath, serveOpenAPI)
	root.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	root.HandleFunc("/", notFound)
	return secured(root), nil
}

// newContracts makes the handler of some contracts.
func newContracts(shown []string, conn grpc.ClientConnInterface, e *edge) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, jsonMarshaler),
		runtime.WithIncomingHeaderMatcher(incomingBesidesAuthorization),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithErrorHandler(restError),
		runtime.WithRoutingErrorHandler(routingError),
		runtime.SetQueryParameterParser(&queryParser{}),
		runtime.WithMetadata(func(context.Context, *http.Request) metadata.MD { return nil }),
	)
	for _, contract := range shown {
		if err := contracts[contract](context.Background(), mux, conn); err != nil {
			return nil, err
		}
		if contract == schedulerv1.SchedulerService_ServiceDesc.ServiceName {
			if err := mux.HandlePath(http.MethodGet, "/v1/{name=assessments/*}:watch", e.watchREST(mux)); err != nil {
				return nil, err
			}
		}
	}
	return mux, nil
}

// incoming passes the credential on and nothing else of a stranger's headers.
func incoming(header string) (string, bool) {
	switch strings.ToLower(header) {
	case "authorization":
		return "authorization", true
	case "x-api-key":
		return "x-api-key", true
	}
	return "", false
}

// incomingBesidesAuthorization is incoming for the generated handlers, which pass the authorization header on by themselves:
// matched again it would arrive twice, and a call with two credentials is refused.
func incomingBesidesAuthorization(header string) (string, bool) {
	if strings.EqualFold(header, "authorization") {
		return "", false
	}
	return incoming(header)
}

// secured sets the headers that every answer has: nothing here is to be framed, sniffed or cached.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(gen.OpenAPI)
}

// notFound answers in the same form as every other error.
func notFound(w http.ResponseWriter, r *http.Request) {
	code, answer := codes.NotFound, "no such path; the API begins at /v1/ and is described at /openapi.json"
	httpStatus := http.StatusNotFound
	if r.URL.Path == openAPIPath || r.URL.Path == healthPath {
		code, answer, httpStatus = codes.Unimplemented, "only GET is allowed here", http.StatusMethodNotAllowed
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": answer, "details": []any{}})
}

// watchREST streams the events of an assessment, one JSON object a line, as server streams of REST gateways do. Where an
// answer cannot be sent bit by bit, in a function, it is the events that there are by now, and says so in a header.
func (e *edge) watchREST(mux *runtime.ServeMux) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		md := metadata.MD{}
		for header, values := range r.Header {
			if key, ok := incoming(header); ok {
				md[key] = values
			}
		}
		ctx, err := e.admit(metadata.NewIncomingContext(r.Context(), md))
		if err == nil {
			flusher, follow := w.(http.Flusher)
			w.Header().Set("Content-Type", "application/json")
			if !follow {
				w.Header().Set(snapshotHeader, "true")
			}
			err = e.watch(ctx, params["name"], follow, func(event *schedulerv1.AssessmentEvent) error {
				line, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(event)
				if err != nil {
					return err
				}
				if _, err := w.Write([]byte(`{"result":` + string(line) + "}\n")); err != nil {
					return err
				}
				if follow {
					flusher.Flush()
				}
				return nil
			})
		}
		if err != nil && r.Context().Err() == nil {
			runtime.HTTPError(r.Context(), mux, jsonMarshaler, w, r, err)
		}
	}
}
