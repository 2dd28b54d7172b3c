package netguard

import "testing"

// The system's servers are learned without a packet: whoever is not asked cannot time out.
func TestSystemServers(t *testing.T) {
	servers, err := systemServers(t.Context(), "a.test")
	for _, s := range servers {
		if !s.server.IsValid() || s.server.Port() == 0 {
			t.Errorf("server %v", s.server)
		}
	}
	if err == nil && len(servers) == 0 {
		t.Error("no server and no error")
	}
}
