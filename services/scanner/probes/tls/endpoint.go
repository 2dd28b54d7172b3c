package tls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// endpoint is one address and port, and how to begin TLS there.
type endpoint struct {
	env      probes.Env
	session  *netguard.Session
	name     string // for SNI; empty for a plain address
	host     string // name or address to dial
	port     string
	protocol string // to be upgraded, or empty
	dialTime time.Duration
	handTime time.Duration
	settle   time.Duration
	opened   atomic.Int32
	polite   sync.Once
	courtesy *probes.Courtesy // of the machine, from the first connection on

	mu      sync.Mutex
	address string // as connected
}

// errSpent says that the scan opened all the connections it may.
var errSpent = fmt.Errorf("more than %d connections", maxHandshakes)

func newEndpoint(env probes.Env, job *modelv1.ScanJob, l limits) (*endpoint, error) {
	target := job.GetTarget()
	end := &endpoint{
		env: env, session: env.Guard.NewSession(), name: target.GetHost(), host: target.GetHost(),
		port: strconv.FormatUint(uint64(target.GetPort()), 10), dialTime: l.dial, handTime: l.handshake, settle: l.settle,
	}
	if job.GetOptions().GetProfile() == modelv1.Profile_PROFILE_QUICK {
		end.dialTime = l.quickDial
	}
	if _, known := upgrades[target.GetService()]; known && !target.GetTls() {
		end.protocol = target.GetService()
	}
	if target.GetAddress() == "" {
		return end, nil
	}
	if end.host == "" {
		end.host = target.GetAddress()
		return end, nil
	}
	addr, err := netip.ParseAddr(target.GetAddress())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read target address")
	}
	if named, err := netip.ParseAddr(end.host); err == nil && named == addr {
		return end, nil
	}
	return end, end.session.Pin(end.host, addr)
}

// asked is the name, or else the address, that the certificate should be for.
func (e *endpoint) asked() string {
	if e.name != "" {
		return e.name
	}
	return e.host
}

// remote is the address that answered.
func (e *endpoint) remote() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.address
}

// machine is who has to bear the connection: the address, for many names may lead to one.
func (e *endpoint) machine(ctx context.Context) string {
	if addr, err := e.session.Addr(ctx, e.host); err == nil {
		return addr.String()
	}
	return e.host // which the dialer then says more about
}

// open connects, and leads the connection to where TLS begins.
func (e *endpoint) open(ctx context.Context) (net.Conn, error) {
	conn, err := e.connect(ctx)
	if err != nil || e.protocol == "" {
		return conn, err
	}
	upgraded, err := upgrade(conn, e.protocol, e.asked())
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return upgraded, nil
}

// connect takes a permit and connects. The deadline of the connection is that of one handshake.
func (e *endpoint) connect(ctx context.Context) (net.Conn, error) {
	if e.opened.Add(1) > maxHandshakes {
		return nil, errSpent
	}
	machine := e.machine(ctx)
	e.polite.Do(func() { e.courtesy = e.env.Courtesy(machine) })
	if err := e.env.TakePermits(ctx, machine, 1); err != nil {
		return nil, err
	}
	dialling, cancel := context.WithTimeout(ctx, e.dialTime)
	defer cancel()
	conn, err := e.session.DialContext(dialling, "tcp", net.JoinHostPort(e.host, e.port))
	if err != nil {
		// Only what breaks off before a word was said: servers hang up on hellos that they do not like, and ask for nothing by it.
		e.courtesy.Failed(ctx, err)
		return nil, err
	}
	e.mu.Lock()
	if remote, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		e.address = remote.Addr().Unmap().String()
	}
	e.mu.Unlock()
	deadline := time.Now().Add(e.handTime)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	_ = conn.SetDeadline(deadline)
	return conn, nil
}

// ask sends a hello on a new connection and reads the answer.
func (e *endpoint) ask(ctx context.Context, h hello, whole bool) (got answer, err error) {
	err = e.converse(ctx, func(conn net.Conn) error {
		h.serverName = e.name
		if _, err := conn.Write(h.record()); err != nil {
			return err
		}
		got, err = readAnswer(conn, whole)
		return err
	})
	return got, err
}

// converse opens a connection, upgrades it where that is needed, and hands it to talk. It is closed afterwards, and as soon as
// ctx ends.
func (e *endpoint) converse(ctx context.Context, talk func(net.Conn) error) error {
	conn, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return talk(conn)
}

// errRefused says that a server which speaks TLS refuses every hello.
var errRefused = errors.New("the server speaks TLS but refuses every hello")

// unreachable turns an error before the first ServerHello into a result.
func unreachable(err error) *probes.Result {
	switch refusal := (*netguard.RefusedError)(nil); {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errNotTLS), errors.Is(err, errNoUpgrade), errors.Is(err, fault.NotFound):
		return &probes.Result{Outcome: modelv1.Outcome_OUTCOME_COMPLETE}
	case errors.As(err, &refusal):
		// Not the whole text: it names the address, and a tenant could ask for the addresses of internal names.
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, "the address may not be connected to: "+refusal.Rule+"; "+refusal.Remedy)
	case errors.Is(err, fault.PermissionDenied), errors.Is(err, fault.Invalid):
		return incomplete(modelv1.Outcome_OUTCOME_NOT_PERMITTED, err.Error())
	case errors.Is(err, errRefused):
		return incomplete(modelv1.Outcome_OUTCOME_PARTIAL, err.Error())
	case timedOut(err):
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, "no answer in time")
	case closed(err):
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, "the server closes every connection without an answer")
	default:
		return incomplete(modelv1.Outcome_OUTCOME_FAILED, err.Error())
	}
}

func incomplete(outcome modelv1.Outcome, reason string) *probes.Result {
	return &probes.Result{Outcome: outcome, Reason: probes.SafeString(reason, maxReason)}
}

// maxReason bounds Result.Reason.
const maxReason = 512

func timedOut(err error) bool {
	var slow net.Error
	return errors.Is(err, context.DeadlineExceeded) || (errors.As(err, &slow) && slow.Timeout())
}

// closed says that the peer ended the connection instead of answering, which many servers do with a hello they do not like.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
