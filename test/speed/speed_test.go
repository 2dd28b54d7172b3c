// Package speed measures the whole platform against floors: the same work in a bare loop, in the same run. `make bench` prints
// the ratios. Nothing here fails by the clock.
package speed

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/platform/telemetry"
	"github.com/riskprofiler/riskprofiler/services/correlator"
	"github.com/riskprofiler/riskprofiler/services/gateway"
	"github.com/riskprofiler/riskprofiler/services/ingest"
	"github.com/riskprofiler/riskprofiler/services/reporter"
	"github.com/riskprofiler/riskprofiler/services/scanner/all"
	"github.com/riskprofiler/riskprofiler/services/scheduler"
)

const tenant = "bench"

// platform runs all six services in this process and returns the address of the edge, a key and the host.
func platform(b *testing.B) (address, key string, host *app.Host) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	quiet, err := telemetry.Setup(b.Context(), telemetry.Options{Service: "bench", Writer: io.Discard, Level: slog.LevelError})
	if err != nil {
		b.Fatal(err)
	}
	host, err = app.Build(b.Context(), app.Options{
		Drivers: drivers.Embedded, Telemetry: quiet,
		Specs: []app.Spec{ingest.Spec, scheduler.Spec, all.Spec, correlator.Spec, reporter.Spec, gateway.Spec},
		Settings: map[string]string{
			"RISKPROFILER_DATA": b.TempDir(), "RISKPROFILER_LISTEN": address,
			"RISKPROFILER_KEY_RATE": "1000000000", "RISKPROFILER_TENANT_REQUEST_RATE": "1000000000",
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	host.OnReady(func(ctx context.Context) error {
		defer close(ready)
		var err error
		key, err = gateway.Bootstrap(ctx, host.Conn("gateway", "gateway"), tenant)
		return err
	})
	ctx, stop := context.WithCancel(context.Background())
	run := host.Run
	go func() { done <- run(ctx) }()
	<-ready
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := host.Close(); err != nil {
			b.Error(err)
		}
	})
	return address, key, host
}

// floors keep what the floor of a benchmark reached, so that the measured part can report its ratio.
var floors sync.Map

// measured is what b.N operations cost: on a machine that is shared with others, processor time says more than time.
type measured struct{ perSecond, cpu float64 }

// report prints what was reached, and beside it the shares of the floor: in time (of-floor, more is better) and in processor time
// of all cores, the client's included (cpu-floors, less is better).
func report(b *testing.B, name, unit string, m measured, isFloor bool) {
	b.ReportMetric(m.perSecond, unit)
	b.ReportMetric(m.cpu/float64(b.N)*1e9, "cpu-ns/op")
	if isFloor {
		floors.Store(name, m)
	} else if f, ok := floors.Load(name); ok {
		b.ReportMetric(m.perSecond/f.(measured).perSecond, "of-floor")
		b.ReportMetric(m.cpu/f.(measured).cpu, "cpu-floors")
	}
}

// stopwatch starts to measure; the returned function ends it, for n operations.
func stopwatch(b *testing.B) func(n int) measured {
	b.Helper()
	before := processor(b)
	b.ResetTimer()
	return func(n int) measured {
		elapsed := b.Elapsed()
		b.StopTimer()
		return measured{perSecond: float64(n) / elapsed.Seconds(), cpu: processor(b) - before}
	}
}

// processor is how many seconds of processor time this process has used.
func processor(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkREST: requests a second of one read over REST against a bare net/http handler that answers the same JSON.
func BenchmarkREST(b *testing.B) {
	address, key, _ := platform(b)
	b.Run("floor", func(b *testing.B) {
		body, err := json.Marshal(map[string]any{"tenant": "tenants/bench", "subject": "key:0123456789ab", "roles": []string{"ROLE_ADMIN", "ROLE_OPERATOR"}})
		if err != nil {
			b.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		}))
		defer server.Close()
		report(b, "rest", "req/s", requests(b, server.URL+"/v1/whoami", ""), true)
	})
	b.Run("gateway", func(b *testing.B) {
		report(b, "rest", "req/s", requests(b, "http://"+address+"/v1/whoami", key), false)
	})
}

func requests(b *testing.B, url, key string) measured {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.SetParallelism(16)
	stop := stopwatch(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+key)
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	m := stop(b.N)
	client.CloseIdleConnections()
	return m
}

type echo struct {
	accessv1.UnimplementedAccessServiceServer
}

func (echo) WhoAmI(context.Context, *accessv1.WhoAmIRequest) (*accessv1.WhoAmIResponse, error) {
	return &accessv1.WhoAmIResponse{Tenant: "tenants/bench", Subject: "key:0123456789ab", Roles: []accessv1.Role{accessv1.Role_ROLE_ADMIN}}, nil
}

// BenchmarkGRPC: calls a second of one read over gRPC against a bare gRPC server that answers the same message.
func BenchmarkGRPC(b *testing.B) {
	address, key, _ := platform(b)
	b.Run("floor", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		server := grpc.NewServer()
		accessv1.RegisterAccessServiceServer(server, echo{})
		go func() { _ = server.Serve(l) }()
		defer server.Stop()
		report(b, "grpc", "call/s", calls(b, l.Addr().String(), ""), true)
	})
	b.Run("gateway", func(b *testing.B) { report(b, "grpc", "call/s", calls(b, address, key), false) })
}

func calls(b *testing.B, address, key string) measured {
	b.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := accessv1.NewAccessServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+key)
	b.SetParallelism(16)
	stop := stopwatch(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.WhoAmI(ctx, &accessv1.WhoAmIRequest{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	return stop(b.N)
}

const (
	// perResult is how many observations one scan result has.
	perResult = 20
	// senders is how many results are submitted at a time.
	senders = 128
)

// result is a scan of one address that found perResult open Redis servers: each gives findings.
func result(n int) *modelv1.ScanCompleted {
	value := fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)
	now := timestamppb.Now()
	r := &modelv1.ScanCompleted{
		Job: &modelv1.ScanJob{
			Id: fmt.Sprintf("job%d", n), Tenant: tenant, Assessment: "assessments/bench", ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE,
			Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: value, Address: value},
		},
		Outcome: modelv1.Outcome_OUTCOME_COMPLETE, StartedAt: now, CompletedAt: now,
	}
	for i := range perResult {
		r.Observations = append(r.Observations, &modelv1.Observation{
			Key: fmt.Sprintf("service%d", i), AssetValue: value, AssetKind: modelv1.AssetKind_ASSET_KIND_IP, LastSeen: now,
			Fact: &modelv1.Observation_Service{Service: &modelv1.ServiceFact{Address: value, Port: uint32(7000 + i), Name: "redis", Version: "7.2.0", Unauthenticated: i == 0}},
		})
	}
	return r
}

// BenchmarkObservations: observations a second from a submitted scan result to the stored risk, with every write on disk before
// it counts, against batched single-row upserts of the same messages.
func BenchmarkObservations(b *testing.B) {
	b.Run("floor", func(b *testing.B) { report(b, "observations", "obs/s", upserts(b), true) })
	b.Run("platform", func(b *testing.B) {
		_, _, host := platform(b)
		client := ingestv1.NewIngestServiceClient(host.Conn("scanner", "ingest"))
		risks := correlatorv1.NewCorrelatorServiceClient(host.Conn("gateway", "correlator"))
		ctx := authn.NewContext(b.Context(), authn.ForService("scanner", tenant))
		reader := authn.NewContext(b.Context(), authn.Principal{Tenant: tenant, Subject: "bench", Roles: []string{authn.RoleViewer}})
		total := (b.N + perResult - 1) / perResult
		stop := stopwatch(b)
		next := make(chan int)
		var group sync.WaitGroup
		for range senders {
			group.Go(func() {
				for n := range next {
					if _, err := client.SubmitResult(ctx, &ingestv1.SubmitResultRequest{Result: result(n)}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		for n := range total {
			next <- n
		}
		close(next)
		group.Wait()
		awaitCorrelated(b, host)
		m := stop(total * perResult)
		for n := range total {
			wantRisk(reader, b, risks, n)
		}
		report(b, "observations", "obs/s", m, false)
	})
}

// awaitCorrelated returns when no changed asset waits for its evaluation: a message leaves its queue only after its findings and
// risks are stored. It asks seldom, because the question is part of what is measured.
func awaitCorrelated(b *testing.B, host *app.Host) {
	operations := operationsv1.NewOperationsServiceClient(host.Conn("gateway", "gateway"))
	ctx := authn.NewContext(b.Context(), authn.Principal{Tenant: tenant, Subject: "bench", Roles: []string{authn.RoleOperator}})
	for {
		res, err := operations.ListQueues(ctx, &operationsv1.ListQueuesRequest{})
		if err != nil {
			b.Fatal(err)
		}
		var waiting uint64
		for _, q := range res.GetQueues() {
			waiting += q.GetVisible() + q.GetInFlight() + q.GetDelayed()
			if q.GetParked() > 0 {
				b.Fatalf("queue %s parked %d messages", q.GetName(), q.GetParked())
			}
		}
		if waiting == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond) // a poll, not a synchronisation: the loop ends by what is stored
	}
}

// wantRisk fails unless the risk of a result is stored.
func wantRisk(ctx context.Context, b *testing.B, client correlatorv1.CorrelatorServiceClient, n int) {
	value := result(n).GetJob().GetTarget().GetValue()
	res, err := client.GetAssetFindings(ctx, &correlatorv1.GetAssetFindingsRequest{Asset: assetid.Name(int32(modelv1.AssetKind_ASSET_KIND_IP), value)})
	if err != nil || len(res.GetRisks()) == 0 {
		b.Fatalf("result %d has %d risks, %v", n, len(res.GetRisks()), err)
	}
}

// upserts writes b.N observations one row each, 100 rows a transaction, with an fsync for each transaction.
func upserts(b *testing.B) measured {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "floor.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(b.Context(), "CREATE TABLE t (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID"); err != nil {
		b.Fatal(err)
	}
	raw, err := proto.Marshal(result(0).GetObservations()[0])
	if err != nil {
		b.Fatal(err)
	}
	stop := stopwatch(b)
	for done := 0; done < b.N; done += 100 {
		if err := upsertBatch(b.Context(), db, raw, done, min(100, b.N-done)); err != nil {
			b.Fatal(err)
		}
	}
	return stop(b.N)
}

// upsertBatch writes n rows in one transaction.
func upsertBatch(ctx context.Context, db *sql.DB, raw []byte, from, n int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	statement, err := tx.PrepareContext(ctx, "INSERT INTO t (k, v) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v")
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	defer func() { _ = statement.Close() }()
	for i := range n {
		if _, err := statement.ExecContext(ctx, fmt.Sprintf("key%d", from+i), raw); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
