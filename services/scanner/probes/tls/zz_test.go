package tls

import (
	"net"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func TestZZ(t *testing.T) {
	at := os.Getenv("ZZ")
	if at == "" {
		return
	}
	addr, _ := net.ResolveTCPAddr("tcp", at)
	job := jobFor(addr, os.Getenv("ZZNAME"))
	if s := os.Getenv("ZZSTART"); s != "" {
		job.Target.Service, job.Target.Tls = s, false
	}
	if os.Getenv("ZZDEEP") != "" {
		job.Options.Profile = modelv1.Profile_PROFILE_DEEP
	}
	r := scan(t, New(Options{}), job)
	t.Log(r.Outcome, r.Reason)
	for _, o := range r.Observations {
		t.Log(protojson.Format(o))
	}
}
