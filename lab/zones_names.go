package lab

// zonesWithHiddenNames is one zone whose names no record of its own leads to: they are there for who searches. The level
// "preview" answers every name, and one name there is somebody's.
func zonesWithHiddenNames() []zone {
	z := tidy("hidden.test")
	z.note = "names that only a search finds"
	z.records = []string{"*.preview A {49}"}
	return []zone{z}
}

// hiddenHosts are the names of that zone, each with an address of its own, on which nothing listens: that they are found at all is
// what is to be shown. What the wildcard answers is in no table.
func hiddenHosts() []host {
	return []host{
		{number: 43, name: "grafana.hidden.test", seed: seedNone},
		{number: 44, name: "registry.hidden.test", seed: seedNone},
		// No list of words has these: only variations of names that were found lead there.
		{number: 45, name: "registry-uat.hidden.test", seed: seedNone},
		{number: 46, name: "uat-grafana.hidden.test", seed: seedNone},
		// Below names that have no address themselves (RFC 8020, empty non-terminals).
		{number: 47, name: "kibana.services.hidden.test", seed: seedNone},
		{number: 48, name: "grafana.preview.hidden.test", seed: seedNone},
	}
}
