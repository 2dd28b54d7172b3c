package service

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

func TestWebServices(t *testing.T) {
	const (
		elastic = `{"name":"n1","cluster_name":"logs","version":{"number":"7.17.9","lucene_version":"8.11.1"},"tagline":"You Know, for Search"}`
		open    = `{"name":"n1","cluster_name":"logs","version":{"distribution":"opensearch","number":"2.11.0"}}`
		docker  = `{"Version":"24.0.7","ApiVersion":"1.43","Os":"linux","KernelVersion":"6.1"}`
	)
	engine := map[string]string{"Api-Version": "1.43", "Ostype": "linux", "Server": "Docker/24.0.7 (linux)"}
	tests := map[string]struct {
		address string // with port 0 unless the port tells what it is
		pages   http.Handler
		want    want
	}{
		"nginx":  {"127.0.0.1:0", website(map[string]string{"Server": "nginx/1.18.0 (Ubuntu)"}, map[string]string{"GET /": "hello"}), want{name: "http", product: "nginx", version: "1.18.0", cpe: "cpe:2.3:a:f5:nginx:1.18.0:*:*:*:*:*:*:*"}},
		"apache": {"127.0.0.1:0", website(map[string]string{"Server": "Apache/2.4.41 (Ubuntu)"}, nil), want{name: "http", product: "Apache HTTP Server", version: "2.4.41"}},
		"nobody": {"127.0.0.1:0", website(nil, nil), want{name: "http"}},
		"elasticsearch": {"127.0.0.1:0", website(nil, map[string]string{"GET /": elastic}),
			want{name: "elasticsearch", product: "Elasticsearch", version: "7.17.9", unauthenticated: true, details: map[string]string{"elasticsearch.cluster": "logs"}}},
		"elasticsearch with password": {"127.0.0.1:0", website(map[string]string{"Www-Authenticate": `Basic realm="security" charset="UTF-8"`}, map[string]string{"GET /": "401{}"}),
			want{name: "elasticsearch", product: "Elasticsearch"}},
		"opensearch": {"127.0.0.1:0", website(nil, map[string]string{"GET /": open}), want{name: "elasticsearch", product: "OpenSearch", version: "2.11.0", unauthenticated: true}},
		"couchdb": {"127.0.0.1:0", website(nil, map[string]string{"GET /": `{"couchdb":"Welcome","version":"2.3.1"}`, "GET /_all_dbs": `["_users","shop"]`}),
			want{name: "couchdb", product: "Apache CouchDB", version: "2.3.1", unauthenticated: true}},
		"couchdb with password": {"127.0.0.1:0", website(nil, map[string]string{"GET /": `{"couchdb":"Welcome","version":"3.2.2"}`, "GET /_all_dbs": `401{"error":"unauthorized"}`}),
			want{name: "couchdb", product: "Apache CouchDB", version: "3.2.2"}},
		"influxdb": {"127.0.0.1:0", website(map[string]string{"X-Influxdb-Version": "v1.8.10"}, nil), want{name: "influxdb", product: "InfluxDB", version: "1.8.10"}},
		"neo4j":    {"127.0.0.1:0", website(nil, map[string]string{"GET /": `{"neo4j_version":"5.3.0"}`}), want{name: "neo4j", product: "Neo4j", version: "5.3.0"}},
		"docker":   {"127.0.0.1:0", website(engine, map[string]string{"GET /version": docker, "404": `{"message":"page not found"}`}), want{name: "docker", product: "Docker Engine", version: "24.0.7", unauthenticated: true}},
		"docker behind a proxy": {"127.0.0.1:0", website(engine, map[string]string{"GET /version": "403{}", "404": `{"message":"page not found"}`}),
			want{name: "docker", product: "Docker Engine"}},
		"kubernetes": {"127.0.0.1:0", website(nil, map[string]string{"GET /": `403{"kind":"Status","apiVersion":"v1"}`, "GET /version": `{"gitVersion":"v1.28.4"}`}),
			want{name: "kubernetes", product: "Kubernetes API server", version: "1.28.4"}},
		"kubelet": {"127.0.6.1:10255", website(nil, map[string]string{"GET /pods": `{"kind":"PodList","items":[` + strings.Repeat(" ", 100_000) + `]}`}),
			want{name: "kubelet", product: "Kubernetes kubelet", unauthenticated: true}},
		"kubelet with password": {"127.0.6.2:10250", website(nil, map[string]string{"GET /pods": `401no "PodList" for you`}), want{name: "kubelet", product: "Kubernetes kubelet"}},
		"etcd": {"127.0.6.3:2379", website(nil, map[string]string{"GET /version": `{"etcdserver":"3.5.0","etcdcluster":"3.5.0"}`, "POST /v3/kv/range": `{"header":{"cluster_id":"14841639068965178418"}}`}),
			want{name: "etcd", product: "etcd", version: "3.5.0", unauthenticated: true}},
		"etcd with users": {"127.0.6.4:2379", website(nil, map[string]string{"GET /version": `{"etcdserver":"3.5.0"}`, "POST /v3/kv/range": `401{"error":"etcdserver: user name is empty"}`}),
			want{name: "etcd", product: "etcd", version: "3.5.0"}},
		"old etcd": {"127.0.6.5:4001", website(map[string]string{"X-Etcd-Cluster-Id": "7e"}, map[string]string{"GET /version": `{"etcdserver":"2.3.0"}`, "404": `{"errorCode":100,"message":"Key not found"}`}),
			want{name: "etcd", product: "etcd", version: "2.3.0", unauthenticated: true}},
		"a web server on etcd's port": {"127.0.6.6:2379", website(map[string]string{"Server": "nginx/1.18.0"}, nil), want{name: "http", product: "nginx", version: "1.18.0"}},
	}
	for name, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(name+map[bool]string{true: " inside TLS"}[secure], func(t *testing.T) {
				if strings.HasSuffix(tt.address, ":0") {
					t.Parallel()
				}
				port := serveWeb(t, tt.address, secure, tt.pages)
				address, _, _ := net.SplitHostPort(tt.address)
				result := scan(t, address, port)
				fact := factOf(t, result)
				tt.want.check(t, fact)
				if fact.GetTls() != secure {
					t.Errorf("tls %v, want %v", fact.GetTls(), secure)
				}
				types := []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_HTTP}
				// HTTP in clear text may be turned into TLS from within.
				if secure || fact.GetName() == "http" || fact.GetName() == "ipp" {
					types = []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS, modelv1.ScanType_SCAN_TYPE_HTTP}
				}
				if got := leadTypes(result.Leads); !slices.Equal(got, types) {
					t.Errorf("leads to %v, want %v", got, types)
				}
			})
		}
	}
}

func leadTypes(leads []*modelv1.Lead) (types []modelv1.ScanType) {
	for _, lead := range leads {
		types = append(types, lead.GetScanTypes()...)
	}
	return types
}

func TestServicesInsideTLS(t *testing.T) {
	tests := map[string]struct {
		server handler
		want   want
		leads  []modelv1.ScanType
	}{
		"imaps": {script("* OK Dovecot ready.\r\n", map[string]string{"a1": "* CAPABILITY IMAP4rev1\r\na1 OK\r\n"}), want{name: "imap", product: "Dovecot"}, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}},
		"redis": {script("", map[string]string{"*1": "", "$4": "", "PING": "-NOAUTH Authentication required.\r\n", "": hangUp}), want{name: "redis", product: "Redis"}, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}},
		"mqtts": {conversation([]exchange{{begins: string(mqttConnect), answer: "\x20\x02\x00\x00"}}), want{name: "mqtt", unauthenticated: true}, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}},
		"mute":  {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, want{name: "unknown"}, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", overTLS(t, tt.server)))
			fact := factOf(t, result)
			tt.want.check(t, fact)
			if !fact.GetTls() || !slices.Equal(leadTypes(result.Leads), tt.leads) {
				t.Errorf("tls %v, leads to %v", fact.GetTls(), leadTypes(result.Leads))
			}
			if lead := result.Leads[0].GetTarget(); !lead.GetTls() || lead.GetService() != fact.GetName() || lead.GetPort() != fact.GetPort() || lead.GetAddress() != "127.0.0.1" {
				t.Errorf("lead %v", lead)
			}
		})
	}
}

// A service that does not agree to our handshake still speaks TLS, and the TLS scan has to look at it.
func TestTLSThatRefuses(t *testing.T) {
	config := tlsConfig(t)
	config.ClientAuth = tls.RequireAnyClientCert
	config.MaxVersion = tls.VersionTLS12 // with 1.3 the refusal comes after the handshake
	result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() }))
	fact := factOf(t, result)
	if !fact.GetTls() || fact.GetName() != unknown || fact.GetDetails()["tls.error"] == "" {
		t.Errorf("%v", fact)
	}
	if got := leadTypes(result.Leads); !slices.Equal(got, []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}) {
		t.Errorf("leads to %v", got)
	}
}

// peeked is a connection whose first byte was read already.
type peeked struct {
	net.Conn
	reader io.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// Servers that speak TLS and answer plain HTTP on the same port, to say so, speak TLS.
func TestTLSBehindAPlainAnswer(t *testing.T) {
	for name, plain := range map[string]string{
		"bad request": "HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
		"redirect":    "HTTP/1.1 301 Moved\r\nLocation: https://127.0.0.1:PORT/\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := tlsConfig(t)
			port := serve(t, "127.0.0.1:0", func(conn net.Conn) {
				first := make([]byte, 1)
				if _, err := io.ReadFull(conn, first); err != nil {
					return
				}
				own := conn.LocalAddr().(*net.TCPAddr).Port
				if first[0] != 0x16 {
					_, _ = io.WriteString(conn, strings.ReplaceAll(plain, "PORT", strconv.Itoa(own)))
					return
				}
				inside := tls.Server(&peeked{Conn: conn, reader: io.MultiReader(bytes.NewReader(first), conn)}, config)
				if inside.Handshake() == nil {
					if n, _ := inside.Read(make([]byte, 1024)); n > 0 {
						_, _ = io.WriteString(inside, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: inside/1\r\n\r\n")
					}
				}
			})
			fact := factOf(t, scan(t, "127.0.0.1", port))
			if !fact.GetTls() || fact.GetName() != "http" || fact.GetDetails()["http.server"] != "inside/1" {
				t.Errorf("%v", fact)
			}
		})
	}
}

func TestStartTLSLead(t *testing.T) {
	const sieveCapabilities = "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto\"\r\n"
	for name, tt := range map[string]struct {
		greeting string
		answers  map[string]string
		offers   bool
	}{
		"smtp":  {"220 mail ESMTP Postfix\r\n", map[string]string{"EHLO": "250-mail\r\n250 STARTTLS\r\n"}, true},
		"nntp":  {"200 news.example.com NNTP\r\n", map[string]string{"CAPABILITIES": "101 list\r\nVERSION 2\r\nREADER\r\nSTARTTLS\r\n.\r\n"}, true},
		"sieve": {sieveCapabilities + "\"STARTTLS\"\r\nOK \"ready\"\r\n", nil, true},
		// Those that do not offer it.
		"nntp ":  {"200 news.example.com NNTP\r\n", map[string]string{"CAPABILITIES": "101 list\r\nVERSION 2\r\n.\r\n"}, false},
		"sieve ": {sieveCapabilities + "OK\r\n", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			result := scan(t, "127.0.0.1", serve(t, "127.0.0.1:0", script(tt.greeting, tt.answers)))
			fact := factOf(t, result)
			if fact.GetName() != strings.TrimSpace(name) || fact.GetStarttls() != tt.offers || (len(result.Leads) == 1) != tt.offers {
				t.Fatalf("%v leads to %v", fact, result.Leads)
			}
			if !tt.offers {
				return
			}
			lead := result.Leads[0]
			if lead.GetTarget().GetService() != fact.GetName() || lead.GetTarget().GetTls() || !slices.Equal(lead.GetScanTypes(), []modelv1.ScanType{modelv1.ScanType_SCAN_TYPE_TLS}) {
				t.Errorf("%v", lead)
			}
		})
	}
}

// Requests name themselves, and ask for the host that the job names.
func TestRequestsNameThemselves(t *testing.T) {
	seen := make(chan http.Header, 16)
	hosts := make(chan string, 16)
	port := serveWeb(t, "127.0.0.1:0", false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		hosts <- r.Host
	}))
	scan(t, "127.0.0.1", port)
	if agent := (<-seen).Get("User-Agent"); agent != userAgent {
		t.Errorf("user agent %q", agent)
	}
	if host := <-hosts; !strings.HasPrefix(host, "127.0.0.1:") {
		t.Errorf("host %q", host)
	}
}
