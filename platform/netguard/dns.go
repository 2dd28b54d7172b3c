package netguard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/together"
)

// The bounds of one lookup against a hostile answer. The parser is golang.org/x/net's: it reads
// only the record types asked for and allocates nothing for the others.
const (
	// maxChain is how many aliases (CNAME) are followed; real chains rarely pass 4.
	maxChain = 8
	// maxAnswers is how many records of one message are looked at.
	maxAnswers = 256
	// udpPayload is what we offer to take in one datagram (EDNS0): the DNS flag day 2020 value,
	// which no path fragments. A longer answer comes by TCP, whose frame holds at most 64 KiB.
	udpPayload = 1232
	// tries and tryTimeout bound the datagrams sent for one question.
	tries      = 2
	tryTimeout = 2 * time.Second
	// maxStray is how many datagrams that are no answer to our question are read past.
	maxStray = 16
)

// dnsClient asks one recursive DNS server. It keeps nothing: pinning is the session's.
type dnsClient struct{ server netip.AddrPort }

// answer is what one message says about a name: its alias chain's end and the records found there.
type answer struct {
	final string
	hops  int
	addrs []netip.Addr
	texts []string
}

func (c dnsClient) lookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	if addrs := loopbackNames(name); addrs != nil {
		return addrs, nil
	}
	types := [2]dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	var answers [2]answer
	var failures [2]error
	var both together.Group
	for i, kind := range types {
		both.Go(func() { answers[i], failures[i] = c.follow(ctx, name, kind) })
	}
	both.Wait()
	addrs := append(answers[0].addrs, answers[1].addrs...)
	if len(addrs) > 0 {
		return addrs, nil // one family's failure is not the name's
	}
	for _, err := range failures {
		if err != nil && !errors.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	return nil, notFound(name)
}

func (c dnsClient) lookupTXT(ctx context.Context, name string) ([]string, error) {
	found, err := c.follow(ctx, name, dnsmessage.TypeTXT)
	return found.texts, err
}

// follow asks for name, and again for the end of an alias chain that the server left open.
func (c dnsClient) follow(ctx context.Context, name string, kind dnsmessage.Type) (answer, error) {
	asked, hops := name, 0
	for {
		message, err := c.exchange(ctx, asked, kind)
		if err != nil {
			return answer{}, dnsFault(name, err)
		}
		found, err := readAnswer(message, asked, kind, maxChain-hops)
		if err != nil {
			return answer{}, dnsFault(name, err)
		}
		if len(found.addrs) > 0 || len(found.texts) > 0 {
			return found, nil
		}
		if found.final == asked {
			return answer{}, notFound(name)
		}
		if asked, err = parseName(found.final); err != nil {
			return answer{}, dnsFault(name, err)
		}
		hops += found.hops
	}
}

// dnsFault keeps NotFound and cancellation, and calls everything else a resolver that failed.
func dnsFault(name string, err error) error {
	switch {
	case errors.Is(err, fault.NotFound):
		return notFound(name)
	case errors.Is(err, context.Canceled):
		return fault.Wrap(fault.Cancelled, err, "resolve %s", name)
	default:
		return fault.Wrap(fault.Unavailable, err, "resolve %s", name)
	}
}

// exchange sends the question by UDP, again if nothing comes, and by TCP if the answer is cut.
func (c dnsClient) exchange(ctx context.Context, name string, kind dnsmessage.Type) ([]byte, error) {
	query, id, err := buildQuery(name, kind)
	if err != nil {
		return nil, err
	}
	var message []byte
	for try := 0; try < tries; try++ {
		message, err = c.overUDP(ctx, query, id, name, kind)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the socket says only that its time is over
	}
	if err != nil {
		return nil, err
	}
	var parser dnsmessage.Parser
	if header, err := parser.Start(message); err != nil || !header.Truncated {
		return message, err
	}
	return c.overTCP(ctx, query, id, name, kind)
}

func (c dnsClient) overUDP(
	ctx context.Context, query []byte, id uint16, name string, kind dnsmessage.Type,
) ([]byte, error) {
	conn, release, err := c.open(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buffer := make([]byte, udpPayload)
	for range maxStray {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		if isReply(buffer[:n], id, name, kind) {
			return buffer[:n], nil
		}
	}
	return nil, errors.New("too many datagrams that are no answer")
}

func (c dnsClient) overTCP(
	ctx context.Context, query []byte, id uint16, name string, kind dnsmessage.Type,
) ([]byte, error) {
	conn, release, err := c.open(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	defer release()
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, len(query)+2), uint16(len(query)))
	if _, err := conn.Write(append(frame, query...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return nil, err
	}
	if !isReply(message, id, name, kind) {
		return nil, errors.New("the answer is not to our question")
	}
	return message, nil
}

// open connects to the server; a datagram socket gets a fresh random port from the kernel, and
// takes datagrams from the server only. The try ends with its time or the context's.
func (c dnsClient) open(ctx context.Context, network string) (net.Conn, func(), error) {
	dialer := net.Dialer{Timeout: tryTimeout}
	conn, err := dialer.DialContext(ctx, network, c.server.String())
	if err != nil {
		return nil, nil, err
	}
	deadline := time.Now().Add(tryTimeout)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); _ = conn.Close() }, nil
}

// buildQuery makes a recursive question with a random id and the EDNS0 size.
func buildQuery(name string, kind dnsmessage.Type) ([]byte, uint16, error) {
	var random [2]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	id := binary.BigEndian.Uint16(random[:])
	question, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, 0, err
	}
	var edns dnsmessage.ResourceHeader
	if err := edns.SetEDNS0(udpPayload, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, 0, err
	}
	message := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: question, Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: edns, Body: &dnsmessage.OPTResource{}}},
	}
	packed, err := message.Pack()
	return packed, id, err
}

// isReply says whether message answers our question: id, and the question repeated.
func isReply(message []byte, id uint16, name string, kind dnsmessage.Type) bool {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	if err != nil || !header.Response || header.ID != id {
		return false
	}
	question, err := parser.Question()
	return err == nil && question.Type == kind && question.Class == dnsmessage.ClassINET &&
		fold(question.Name) == name
}

// fold writes a wire name as parseName does, without judging it.
func fold(name dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(name.String(), "."))
}
