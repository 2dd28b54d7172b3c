package wire

import (
	"sync"

	"google.golang.org/grpc/metadata"
)

// transportStream is what grpc.SetHeader, grpc.SendHeader, grpc.SetTrailer and grpc.Method find in
// a handler's context. Handlers may use it from several goroutines, and after the call.
type transportStream struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
	sent, done      bool
}

// Method is the full name of the method that is served.
func (s *transportStream) Method() string { return s.method }

// SetHeader adds to the header, until it is sent.
func (s *transportStream) SetHeader(md metadata.MD) error { return s.addHeader(md, false) }

// SendHeader adds to the header and closes it. It reaches the caller with the reply all the same.
func (s *transportStream) SendHeader(md metadata.MD) error { return s.addHeader(md, true) }

func (s *transportStream) addHeader(md metadata.MD, send bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent || s.done {
		return errDone
	}
	s.header, s.sent = metadata.Join(s.header, md), send
	return nil
}

// SetTrailer adds to the trailer, until the call is over.
func (s *transportStream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return errDone
	}
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}

// finish closes the stream and gives what the caller shall see.
func (s *transportStream) finish() (header, trailer metadata.MD) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	dropReserved(s.header)
	dropReserved(s.trailer)
	return s.header, s.trailer
}
