package service

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf keeps evidence by its hash.
type shelf struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (s *shelf) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	if s.data == nil {
		s.data = make(map[string][]byte)
	}
	s.data[key] = slices.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

// handler is a service: it talks on one connection and returns when it is done.
type handler func(conn net.Conn)

// serve runs a service on address until the test ends, and returns its port.
func serve(t testing.TB, address string, talk handler) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, listener, talk)
}

func serveOn(t testing.TB, listener net.Listener, talk handler) uint16 {
	var group sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			group.Go(func() {
				talk(conn)
				_ = conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// hurried is how long tests wait: long enough for loopback on a busy machine.
func hurried(bool) patience {
	return patience{
		dial: 2 * time.Second, banner: 700 * time.Millisecond, step: time.Second, gap: time.Second,
		settle: 20 * time.Millisecond, grace: 50 * time.Millisecond, slow: 400 * time.Millisecond, udp: 250 * time.Millisecond, budget: 8 * time.Second,
	}
}

func serviceJob(address string, port uint16) *modelv1.ScanJob {
	return &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_SERVICE,
		Target: &modelv1.Target{
			Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: address, Address: address, Port: uint32(port), Transport: modelv1.Transport_TRANSPORT_TCP,
		},
		Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD},
	}
}

func scan(t testing.TB, address string, port uint16) *probes.Result {
	t.Helper()
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: new(shelf)}
	result, err := (&Probe{patience: hurried}).Scan(t.Context(), env, serviceJob(address, port))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// factOf is the one fact of a scan.
func factOf(t testing.TB, result *probes.Result) *modelv1.ServiceFact {
	t.Helper()
	if len(result.Observations) != 1 || result.Observations[0].GetService() == nil {
		t.Fatalf("%v %q with observations %v, want one service", result.Outcome, result.Reason, result.Observations)
	}
	return result.Observations[0].GetService()
}

// script is a service of a text protocol: it greets, and answers each line that begins with a word.
func script(greeting string, answers map[string]string) handler {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, greeting)
		reader := bufio.NewReader(conn)
		for {
			text, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			text = strings.TrimRight(text, "\r\n")
			answer, known := answers[text]
			for word, candidate := range answers {
				if !known && word != "" && strings.HasPrefix(text, word) {
					answer, known = candidate, true
				}
			}
			if !known {
				answer = answers[""]
			}
			if answer == hangUp {
				return
			}
			_, _ = io.WriteString(conn, answer)
		}
	}
}

// hangUp is the answer that ends a script.
const hangUp = "\x00hang up"

// exchange is one request of a binary protocol and its answer.
type exchange struct {
	begins string // of the request
	size   int    // of the request; 0: of what begins
	answer string
}

// conversation is a service of a binary protocol: each connection must go through a prefix of the exchanges of one sequence; it
// hangs up on everything else, as servers do.
func conversation(sequences ...[]exchange) handler {
	return func(conn net.Conn) {
		var heard []byte
		alive := slices.Clone(sequences)
		for step := 0; ; step++ {
			var next *exchange
			for next == nil {
				alive = slices.DeleteFunc(alive, func(s []exchange) bool {
					return step >= len(s) || !agree(heard, s[step].begins)
				})
				if len(alive) == 0 {
					return
				}
				for _, sequence := range alive {
					if e := sequence[step]; len(heard) >= max(e.size, len(e.begins)) {
						next = &e
						break
					}
				}
				if next == nil {
					piece := make([]byte, 4096)
					n, err := conn.Read(piece)
					if err != nil {
						return
					}
					heard = append(heard, piece[:n]...)
				}
			}
			heard = heard[max(next.size, len(next.begins)):]
			if _, err := io.WriteString(conn, next.answer); err != nil {
				return
			}
		}
	}
}

func agree(heard []byte, begins string) bool {
	n := min(len(heard), len(begins))
	return string(heard[:n]) == begins[:n]
}

// website answers GET and POST of paths; others get 404.
func website(header map[string]string, pages map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		body, found := pages[r.Method+" "+r.URL.Path]
		status := http.StatusOK
		switch {
		case !found && pages["404"] != "":
			body, status = pages["404"], http.StatusNotFound
		case !found:
			status = http.StatusNotFound
		case strings.HasPrefix(body, "401"):
			body, status = body[3:], http.StatusUnauthorized
		case strings.HasPrefix(body, "403"):
			body, status = body[3:], http.StatusForbidden
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// serveWeb runs a web server until the test ends.
func serveWeb(t testing.TB, address string, secure bool, pages http.Handler) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	if secure {
		listener = tls.NewListener(listener, tlsConfig(t))
	}
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second, ErrorLog: nil}
	server.ErrorLog = quietLog()
	var group sync.WaitGroup
	group.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = server.Close(); group.Wait() })
	return port
}

// tlsConfig has a certificate of its own making.
func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// overTLS runs a service inside TLS.
func overTLS(t testing.TB, talk handler) handler {
	config := tlsConfig(t)
	return func(conn net.Conn) {
		secure := tls.Server(conn, config)
		if secure.Handshake() != nil {
			return
		}
		talk(secure)
	}
}
