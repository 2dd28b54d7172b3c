package service

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// Every protocol's words are had with services that flood, lie about lengths, drip, speak another protocol, or echo: none is taken for
// the protocol, none is read beyond the bound, and none is waited for beyond patience.
func TestEveryProtocolAgainstHostileServices(t *testing.T) {
	servers := map[string]handler{
		"zeros":   flood("\x00"),
		"giant":   flood("\xff"),
		"lines":   flood("hello\r\n"),
		"drip":    drip("\x00\xff"),
		"another": script("SSH-2.0-OpenSSH_9.9\r\n", nil),
		"nothing": func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
	}
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var group sync.WaitGroup
			for _, p := range protocols() {
				group.Go(func() {
					fact := speakOn(t, p.name, p.ports[0], server)
					if fact == nil || fact.GetTarpit() && fact.GetName() == unknown {
						return
					}
					checkSafe(t, fact)
					t.Errorf("taken for %v", fact)
				})
			}
			group.Wait()
		})
	}
}

// The further reads of each HTTP API against a server that answers everything with the same page, an endless one, or a broken one.
func TestWebAPIsAgainstHostileServers(t *testing.T) {
	for name, body := range map[string]string{
		"same object":  `{"version":"1","Config":{},"sealed":"no","nanosecond heartbeat":null,"repositories":{},"beans":[1],"lucene":{}}`,
		"deep":         strings.Repeat("[", 10000),
		"broken":       `{"version":`,
		"no object":    `"x"`,
		"other kinds":  `{"version":{"number":[]},"config":{"Version":{"Version":1}},"clusterInfo":"x","results":[null],"models":{},"result":{"collections":{}}}`,
		"endless text": strings.Repeat("a", probes.MaxBannerBytes+10),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := func(conn net.Conn) {
				buffer := make([]byte, 4096)
				if _, err := conn.Read(buffer); err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Squid-Error: x\r\nX-Influxdb-Version: 1\r\nContent-Type: application/json\r\n\r\n"+body)
				}
			}
			guarded := udpProber(serve(t, "127.0.0.1:0", server))
			for _, port := range []uint16{8500, 8200, 4646, 5000, 8088, 9870, 8983, 8000, 8080, 6333} {
				p := *guarded
				p.port = port
				p.connect = toPort(guarded.port)
				l, err := p.open(t.Context(), false)
				if err != nil {
					t.Fatal(err)
				}
				talk := &talk{line: l, prober: &p}
				fact := talk.found(web(talk)).fact
				l.close()
				if fact == nil {
					t.Fatal("no web server")
				}
				checkSafe(t, fact)
				if fact.GetUnauthenticated() && fact.GetName() != "influxdb" {
					t.Errorf("port %d: %v", port, fact)
				}
			}
		})
	}
}
