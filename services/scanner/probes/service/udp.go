package service

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/together"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Bounds of one question over UDP.
const (
	udpTries     = 3  // a datagram may be lost, on either way
	maxDatagrams = 64 // of one answer; more is a flood
	maxUDPAsks   = 8  // protocols that are asked at a time
)

// errSilent says that nothing came, errNobody that the host says the port is closed.
var (
	errSilent = errors.New("no answer")
	errNobody = errors.New("port unreachable")
)

// datagrams is the exchange of one protocol over UDP: a socket of its own, connected to the target, so that answers of others
// do not reach it.
type datagrams struct {
	ctx       context.Context
	prober    *prober
	conn      net.Conn
	stop      func() bool
	raw       []byte // all that was received
	truncated bool
	amplifies uint32 // see ServiceFact
	closed    bool   // the host says that nobody listens
}

func (p *prober) datagrams(ctx context.Context) (*datagrams, error) {
	conn, err := p.connect(ctx, "udp", net.JoinHostPort(p.reach, strconv.Itoa(int(p.port))))
	if err != nil {
		return nil, err
	}
	return &datagrams{
		ctx: ctx, prober: p, conn: conn,
		stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }),
	}, nil
}

func (d *datagrams) close() {
	d.stop()
	_ = d.conn.Close()
}

// ask sends a question, again where nothing comes, and returns the first answer that is of the protocol. What follows it
// without being asked for is counted and kept, and not waited for longer than patience.settle.
func (d *datagrams) ask(question []byte, is func(answer []byte) bool) ([]byte, error) {
	for range udpTries {
		if d.closed {
			return nil, errNobody
		}
		if err := d.prober.env.TakePermits(d.ctx, d.prober.reach, 1); err != nil {
			return nil, err
		}
		if _, err := d.conn.Write(question); err != nil && d.failed(err) != nil {
			return nil, err
		}
		until := time.Now().Add(d.prober.patience.udp)
		for range maxDatagrams {
			answer, err := d.receive(until)
			if err != nil {
				break
			}
			if !is(answer) {
				continue
			}
			size := len(answer)
			for range maxDatagrams {
				more, err := d.receive(time.Now().Add(d.prober.patience.settle))
				if err != nil {
					break
				}
				size += len(more)
			}
			if factor := size / max(len(question), 1); factor > 1 {
				d.amplifies = max(d.amplifies, uint32(factor))
			}
			return answer, nil
		}
		if d.ctx.Err() != nil {
			return nil, d.ctx.Err()
		}
	}
	if d.closed {
		return nil, errNobody
	}
	return nil, errSilent
}

// receive reads one datagram, and keeps it as evidence.
func (d *datagrams) receive(until time.Time) ([]byte, error) {
	if err := d.conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	if err := d.ctx.Err(); err != nil { // asked after the deadline, which the end of the context sets too
		return nil, err
	}
	data := make([]byte, 64<<10) // as long as a datagram can be
	n, err := d.conn.Read(data)
	if err != nil {
		return nil, d.failed(err)
	}
	if room := probes.MaxBannerBytes - len(d.raw); room < n {
		d.raw, d.truncated = append(d.raw, data[:room]...), true
	} else {
		d.raw = append(d.raw, data[:n]...)
	}
	return data[:n:n], nil
}

// failed notes that the host answered with "port unreachable" (RFC 1122 section 4.1.3.3).
func (d *datagrams) failed(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		d.closed = true
	}
	return err
}

// datagramProtocol is one that is spoken over UDP.
type datagramProtocol struct {
	name     string
	ports    []uint16
	anywhere bool // asked on other ports too, where the scan is thorough
	speak    func(d *datagrams) *modelv1.ServiceFact
}

// scanUDP asks the protocols that are usual on the port, else all that may be anywhere: whose answer it is tells what is there.
func (p *prober) scanUDP(ctx context.Context, job *modelv1.ScanJob) (*probes.Result, error) {
	address := p.reach
	probe, err := p.datagrams(ctx) // resolves the name and asks the guard, and sends nothing
	if err != nil {
		return notReached(err), nil
	}
	if remote, ok := probe.conn.RemoteAddr().(*net.UDPAddr); ok {
		address = remote.AddrPort().Addr().Unmap().String()
	}
	probe.close()
	return p.sumUp(ctx, job, address, p.askDatagrams(ctx, p.datagramProtocols()))
}

// sumUp makes the result of the answers of all protocols that were asked.
func (p *prober) sumUp(ctx context.Context, job *modelv1.ScanJob, address string, answers []datagramAnswer) (*probes.Result, error) {
	for _, answer := range answers {
		if answer.mistake != "" {
			return outcome(modelv1.Outcome_OUTCOME_FAILED, safe((&mistakeError{port: p.port, what: answer.mistake}).Error(), 1024)), nil
		}
	}
	best := slices.IndexFunc(answers, func(a datagramAnswer) bool { return a.fact != nil })
	if best >= 0 {
		seen := answers[best].found
		seen.fact.Address = address
		return p.report(ctx, job, outcome(modelv1.Outcome_OUTCOME_COMPLETE, ""), seen)
	}
	if timeIsUp(ctx) {
		return outcome(modelv1.Outcome_OUTCOME_PARTIAL, "time was up before every question was asked"), nil
	}
	if failed := slices.IndexFunc(answers, func(a datagramAnswer) bool { return a.err != nil }); failed >= 0 {
		return notReached(answers[failed].err), nil
	}
	// Nobody listens, or whoever does answers to nothing that we may say: there is no service to tell of.
	return outcome(modelv1.Outcome_OUTCOME_COMPLETE, ""), nil
}

func timeIsUp(ctx context.Context) bool { return ctx.Err() != nil }

func (p *prober) datagramProtocols() []datagramProtocol {
	usual := slices.DeleteFunc(slices.Clone(datagramTable()), func(d datagramProtocol) bool { return !slices.Contains(d.ports, p.port) })
	if len(usual) > 0 || !p.thorough {
		return usual
	}
	return slices.DeleteFunc(slices.Clone(datagramTable()), func(d datagramProtocol) bool { return !d.anywhere })
}

// datagramAnswer is what one protocol's questions brought.
type datagramAnswer struct {
	found
	mistake string
}

// askDatagrams asks the protocols side by side; the first that tells what it is ends the others. The answers are in the order
// of the protocols.
func (p *prober) askDatagrams(ctx context.Context, list []datagramProtocol) []datagramAnswer {
	asking, done := context.WithCancel(ctx)
	defer done()
	answers := make([]datagramAnswer, len(list))
	group := together.Limit(maxUDPAsks)
	for i, protocol := range list {
		group.Go(func() {
			if answers[i] = p.askDatagram(asking, protocol); answers[i].fact != nil {
				done()
			}
		})
	}
	group.Wait()
	return answers
}

func (p *prober) askDatagram(ctx context.Context, protocol datagramProtocol) (answer datagramAnswer) {
	defer func() {
		if mistake := recover(); mistake != nil {
			answer = datagramAnswer{mistake: mistakeText(mistake)}
		}
	}()
	if ctx.Err() != nil {
		return datagramAnswer{}
	}
	d, err := p.datagrams(ctx)
	if err != nil {
		return datagramAnswer{found: found{err: err}}
	}
	defer d.close()
	fact := protocol.speak(d)
	if fact != nil {
		if d.amplifies > fact.GetAmplification() {
			fact.Amplification = d.amplifies
		}
		if fact.GetBanner() == "" {
			fact.Banner = probes.SafeText(d.raw, maxBanner)
		}
	}
	return datagramAnswer{found: found{fact: fact, raw: d.raw, truncated: d.truncated}}
}
