package scheduler

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// location is a place where an earlier assessment saw something: it is looked at again even if nothing leads there now, so
// that what is gone is found to be gone.
type location struct {
	scanType modelv1.ScanType
	target   *modelv1.Target
}

func (g *graph) growBefore(before []location) {
	for _, l := range before {
		g.job(l.scanType, l.target, nil)
	}
}

// atPlaces are the scan types that look at one port of an asset.
var atPlaces = setOf(
	modelv1.ScanType_SCAN_TYPE_SERVICE, modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP, modelv1.ScanType_SCAN_TYPE_VULN,
)

// placesBefore are the places of an asset where services, TLS, HTTP or flaws were seen before.
func placesBefore(asset *modelv1.Asset, sets []*modelv1.ObservationSet, address string) []location {
	var out []location
	for _, s := range sets {
		host, port, transport, ok := splitLocation(s.GetLocation())
		if !ok || !atPlaces[s.GetScanType()] || len(s.GetObservations()) == 0 {
			continue
		}
		t := &modelv1.Target{Kind: asset.GetKind(), Value: asset.GetValue(), Address: address, Port: port, Transport: transport}
		if asset.GetKind() != modelv1.AssetKind_ASSET_KIND_IP {
			t.Host = host
		}
		for _, o := range s.GetObservations() {
			t.Tls = t.Tls || o.GetHttp().GetTls() || o.GetTls() != nil
			t.Service = cmp.Or(o.GetTls().GetStarttls(), t.GetService())
		}
		out = append(out, location{s.GetScanType(), t})
	}
	return out
}

// splitLocation takes "host-or-address:port/transport" apart.
func splitLocation(text string) (host string, port uint32, transport modelv1.Transport, ok bool) {
	hostPort, word, _ := strings.Cut(text, "/")
	switch word {
	case "tcp":
		transport = modelv1.Transport_TRANSPORT_TCP
	case "udp":
		transport = modelv1.Transport_TRANSPORT_UDP
	default:
		return "", 0, 0, false
	}
	host, digits, err := net.SplitHostPort(hostPort)
	n, perr := strconv.ParseUint(digits, 10, 16)
	return host, uint32(n), transport, err == nil && perr == nil
}
