//go:build realservers

package real

import (
	"os"
	"path/filepath"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Target is one port of a server as a scan job names it.
func (s *Server) Target(p Port) *modelv1.Target {
	transport := modelv1.Transport_TRANSPORT_TCP
	if p.UDP {
		transport = modelv1.Transport_TRANSPORT_UDP
	}
	return &modelv1.Target{
		Kind: modelv1.AssetKind_ASSET_KIND_IP, Value: s.Address, Address: s.Address,
		Port: uint32(p.Number), Transport: transport, Service: p.Service, Tls: p.TLS,
	}
}

// Scan runs a probe on a target in the standard profile, with a guard that allows loopback and nobody who limits the rate.
// The test fails where the scan could not start.
func Scan(t testing.TB, probe probes.Probe, target *modelv1.Target) *probes.Result {
	t.Helper()
	result, err := probe.Scan(t.Context(), probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true})}, &modelv1.ScanJob{
		ScanType: probe.ScanType(), Target: target, Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD},
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Log is the end of what the server said, for messages of tests that fail.
func (s *Server) Log() string {
	var all string
	for _, name := range []string{"log", "error.log", "cache.log"} {
		if text, err := os.ReadFile(filepath.Join(s.Dir, name)); err == nil {
			all += tail(text)
		}
	}
	return all
}
