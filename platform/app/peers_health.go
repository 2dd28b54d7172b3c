package app

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// exceptHealth keeps an interceptor from questions about health: whoever may connect may ask, and nobody wants a span for
// each time.
func exceptHealth(i grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if info.FullMethod == healthv1.Health_Check_FullMethodName {
			return handler(ctx, req)
		}
		return i(ctx, req, info, handler)
	}
}

// onlyHealth refuses streams: none exists between services but that of health.
func onlyHealth(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod != healthv1.Health_Watch_FullMethodName {
		return fault.New(fault.Unimplemented, "streams are not served between services")
	}
	return handler(srv, stream)
}

// peerHealth is gRPC's health service (github.com/grpc/grpc/blob/master/doc/health-checking.md), whose watchers do not
// hold up the end of the process: each is told NOT_SERVING, and then its stream ends.
type peerHealth struct {
	healthv1.HealthServer

	status *health.Server

	mu       sync.Mutex
	draining bool
	watchers map[*watcher]struct{}
}

// newPeerHealth says that the process and each of its contracts are served.
func newPeerHealth(specs []Spec) *peerHealth {
	h := &peerHealth{status: health.NewServer(), watchers: map[*watcher]struct{}{}}
	h.HealthServer = h.status
	for _, s := range specs {
		for _, contract := range s.Serves {
			h.status.SetServingStatus(contract, healthv1.HealthCheckResponse_SERVING)
		}
	}
	return h
}

func (h *peerHealth) register(r grpc.ServiceRegistrar) { healthv1.RegisterHealthServer(r, h) }

// drain tells everybody that no more is served.
func (h *peerHealth) drain() {
	h.mu.Lock()
	h.draining = true
	for w := range h.watchers {
		w.endIfTold()
	}
	h.mu.Unlock()
	h.status.Shutdown()
}

// Watch streams the status of a service until the caller goes or the process ends.
func (h *peerHealth) Watch(req *healthv1.HealthCheckRequest, stream grpc.ServerStreamingServer[healthv1.HealthCheckResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	w := &watcher{ServerStreamingServer: stream, health: h, ctx: ctx, cancel: cancel}
	h.mu.Lock()
	h.watchers[w] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.watchers, w)
		h.mu.Unlock()
	}()
	return h.status.Watch(req, w)
}

// watcher is the stream of one watcher.
type watcher struct {
	grpc.ServerStreamingServer[healthv1.HealthCheckResponse]

	health *peerHealth
	ctx    context.Context //nolint:containedctx // grpc.ServerStream is made this way
	cancel context.CancelFunc
	last   healthv1.HealthCheckResponse_ServingStatus
}

// Context ends when the watcher has been told the last news.
func (w *watcher) Context() context.Context { return w.ctx }

// Send tells the watcher, and ends its stream if there will be no more news.
func (w *watcher) Send(r *healthv1.HealthCheckResponse) error {
	err := w.ServerStreamingServer.Send(r)
	w.health.mu.Lock()
	defer w.health.mu.Unlock()
	w.last = r.GetStatus()
	if w.health.draining {
		w.endIfTold()
	}
	return err
}

// endIfTold ends the stream unless the watcher believes that the service is served, or has not been told anything. It is
// called under the lock.
func (w *watcher) endIfTold() {
	if w.last != healthv1.HealthCheckResponse_SERVING && w.last != healthv1.HealthCheckResponse_UNKNOWN {
		w.cancel()
	}
}
