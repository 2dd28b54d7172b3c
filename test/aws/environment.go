package cloud

import (
	"maps"
	"strings"
)

// Place is where functions find everything.
type Place struct {
	// Backend is RISKPROFILER_BACKEND.
	Backend string
	// Prefix begins the names of functions.
	Prefix string
	// Settings are further settings of all functions.
	Settings map[string]string
}

// Environment is the environment of every function at a place.
func Environment(p Place) map[string]string {
	var peers []string
	for _, f := range Functions() {
		if f.Name == f.Spec.Name {
			peers = append(peers, f.Name+"=lambda:"+p.Prefix+"-"+f.Name+":"+live)
		}
	}
	env := map[string]string{"RISKPROFILER_BACKEND": p.Backend, "RISKPROFILER_PEERS": strings.Join(peers, ",")}
	maps.Copy(env, p.Settings)
	return env
}
