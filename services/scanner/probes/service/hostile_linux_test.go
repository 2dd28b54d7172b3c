package service

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// A port whose connections never come to be is not reached, and that is not the same as no service.
func TestHalfOpenPort(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	for { // until its queue is full and the kernel drops what comes
		conn, err := net.DialTimeout("tcp", listener.Addr().String(), 200*time.Millisecond)
		if err != nil {
			break
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	impatient := func(bool) patience {
		p := hurried(false)
		p.dial = 100 * time.Millisecond
		return p
	}
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	result, err := (&Probe{patience: impatient}).Scan(t.Context(), env, serviceJob("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || result.Reason == "" || len(result.Observations) != 0 {
		t.Errorf("%v %q with %v", result.Outcome, result.Reason, result.Observations)
	}
}
