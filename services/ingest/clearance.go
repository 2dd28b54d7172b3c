package ingest

import (
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// need is what one scan type needs.
type need struct {
	passive, active modelv1.Clearance
	// why is in docs/security.md too.
	why string
}

// needs is the one table of what may be done under which clearance: in the passive profile, and in the others.
var needs = map[modelv1.ScanType]need{
	modelv1.ScanType_SCAN_TYPE_DNS: {
		modelv1.Clearance_CLEARANCE_PASSIVE, modelv1.Clearance_CLEARANCE_LIGHT,
		"passive: the operator's resolver is asked and no server of the target; else the servers of the zone are asked, for a transfer too",
	},
	modelv1.ScanType_SCAN_TYPE_SUBDOMAIN: {
		modelv1.Clearance_CLEARANCE_PASSIVE, modelv1.Clearance_CLEARANCE_LIGHT,
		"passive: third parties are asked; else thousands of names are looked up, which ends at the servers of the zone",
	},
	modelv1.ScanType_SCAN_TYPE_INTEL: {
		modelv1.Clearance_CLEARANCE_PASSIVE, modelv1.Clearance_CLEARANCE_PASSIVE, "third parties are asked",
	},
	modelv1.ScanType_SCAN_TYPE_CLOUD: {
		modelv1.Clearance_CLEARANCE_LIGHT, modelv1.Clearance_CLEARANCE_LIGHT, "the provider is asked in the owner's name, by a role that reads",
	},
	modelv1.ScanType_SCAN_TYPE_PORT: {
		modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_STANDARD, "connections to many ports",
	},
	modelv1.ScanType_SCAN_TYPE_SERVICE: {
		modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_STANDARD, "talks to what listens, and reads what anybody may read",
	},
	modelv1.ScanType_SCAN_TYPE_TLS: {
		modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_STANDARD, "dozens of handshakes with one port",
	},
	modelv1.ScanType_SCAN_TYPE_HTTP: {
		modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_STANDARD, "asks for pages that nobody linked to",
	},
	modelv1.ScanType_SCAN_TYPE_VULN: {
		modelv1.Clearance_CLEARANCE_STANDARD, modelv1.Clearance_CLEARANCE_STANDARD,
		"requests that tell whether a known flaw is there; those that may disturb run only where the scan was told that intrusive is granted",
	},
}

// needed is the clearance that a scan needs. What is not in the table needs what a connection needs.
func needed(t modelv1.ScanType, p modelv1.Profile) modelv1.Clearance {
	n, known := needs[t]
	switch {
	case !known:
		return modelv1.Clearance_CLEARANCE_STANDARD
	case p == modelv1.Profile_PROFILE_PASSIVE:
		return n.passive
	}
	return n.active
}

// clearanceOf is how much the authorisation of an asset permits now: nothing beyond passive unless ownership is proven.
func clearanceOf(o *modelv1.Ownership) modelv1.Clearance {
	if o.GetState() != modelv1.Ownership_STATE_VERIFIED {
		return modelv1.Clearance_CLEARANCE_PASSIVE
	}
	if o.GetClearance() == modelv1.Clearance_CLEARANCE_UNSPECIFIED {
		return modelv1.Clearance_CLEARANCE_STANDARD
	}
	return o.GetClearance()
}

func clearanceText(c modelv1.Clearance) string {
	switch c {
	case modelv1.Clearance_CLEARANCE_PASSIVE:
		return "passive"
	case modelv1.Clearance_CLEARANCE_LIGHT:
		return "light"
	case modelv1.Clearance_CLEARANCE_STANDARD:
		return "standard"
	case modelv1.Clearance_CLEARANCE_INTRUSIVE:
		return "intrusive"
	}
	return "none"
}
