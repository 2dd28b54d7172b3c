package probes

import (
	"net"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/safetext"
)

// AssetName returns the resource name of the asset of the given kind and canonical value.
func AssetName(kind modelv1.AssetKind, value string) string {
	return assetid.Name(int32(kind), value)
}

// NewObservation returns an observation without a fact: about the asset that the job's target names, at location ("" for the
// asset as a whole, else as Location writes it), first and last seen now. The key is stable within asset, scan type and
// location. Source and trace are filled in by the scanner, which knows them.
func NewObservation(job *modelv1.ScanJob, location, key string) *modelv1.Observation {
	target := job.GetTarget()
	return NewObservationOf(job, target.GetKind(), target.GetValue(), location, key)
}

// NewObservationOf is NewObservation about another asset than the job's target, such as the zone of a host.
func NewObservationOf(job *modelv1.ScanJob, kind modelv1.AssetKind, value, location, key string) *modelv1.Observation {
	now := timestamppb.New(time.Now())
	return &modelv1.Observation{
		Key:        key,
		Asset:      AssetName(kind, value),
		AssetValue: value,
		AssetKind:  kind,
		ScanType:   job.GetScanType(),
		Location:   location,
		FirstSeen:  now,
		LastSeen:   now,
	}
}

// Location writes the port that target is about: "host-or-address:port/tcp" with IPv6 addresses in brackets, and "" for a
// target that is not about one port. The host name wins over the address, because facts about a name belong to the name.
func Location(target *modelv1.Target) string {
	if target.GetPort() == 0 {
		return ""
	}
	host := target.GetHost()
	if host == "" {
		host = target.GetAddress()
	}
	if host == "" {
		host = target.GetValue()
	}
	return LocationOf(host, target.GetPort(), target.GetTransport())
}

// LocationOf writes "host:port/transport"; a transport that is not said is TCP.
func LocationOf(host string, port uint32, transport modelv1.Transport) string {
	protocol := "tcp"
	if transport == modelv1.Transport_TRANSPORT_UDP {
		protocol = "udp"
	}
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10)) + "/" + protocol
}

// SafeText makes text of what a target sent that is harmless in one line: see [safetext.Of].
func SafeText(raw []byte, maxRunes int) string { return safetext.Of(raw, maxRunes) }

// SafeString is SafeText of a string.
func SafeString(raw string, maxRunes int) string {
	return SafeText([]byte(raw), maxRunes)
}
