package wire

import (
	"context"
	"os"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// serving is one call while it is served: all that it needs in one piece of memory.
type serving struct {
	mux    *Mux
	method *method
	call   *Call
	ctx    context.Context //nolint:containedctx // it lives exactly as long as the call
	stream transportStream
	reply  Reply
	done   chan *Reply
}

// run answers the call, whatever the handler does.
func (s *serving) run() {
	answered := false
	defer func() {
		if !answered { // the handler ended its goroutine: runtime.Goexit
			s.reply = Reply{Status: statusProto(fault.New(fault.Internal, "serve %s: no answer", s.method.full))}
		}
		s.done <- &s.reply
		s.mux.leave()
	}()
	growStack(false)
	s.answer()
	answered = true
}

func (s *serving) answer() {
	out, err := s.handle()
	if err == nil {
		err = encodeReply(s.call, &s.reply, out)
	}
	s.reply.Header, s.reply.Trailer = s.stream.finish()
	if err == nil {
		err = checkReplyMetadata(&s.reply)
	}
	if err != nil {
		s.reply.Body, s.reply.Message = nil, nil
		s.reply.Status = statusProto(s.mux.publish(s.ctx, s.method.full, err))
	}
}

func (s *serving) handle() (reply any, err error) {
	defer recovered(s.method.full, &reply, &err)
	return s.method.handler(s.method.srv, s.ctx, s.decode, s.mux.chain)
}

func (s *serving) decode(into any) error { return decodeCall(s.call, into) }

// growStack makes the stack of a new goroutine as large as handlers need at once, while there is
// next to nothing on it to copy. Left to itself it would be doubled, and copied, three times while
// the request is unmarshalled, which takes as long as all the rest of the call
// (BenchmarkInProcess). The array is what makes the frame large; it is never touched.
//
//go:noinline
func growStack(touch bool) byte {
	if !touch {
		return 0
	}
	var frame [9 << 10]byte
	return frame[len(os.Args)]
}
