//go:build realservers

package real

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/png"
	"os"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/http"
)

// httpAt scans one port and returns what was seen of the application and what lies open.
func httpAt(t *testing.T, s *Server, p Port) (*modelv1.HttpFact, []string) {
	t.Helper()
	result := Scan(t, http.New(http.Options{}), s.Target(p))
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || len(result.Observations) == 0 {
		t.Fatalf("%s %v: %v %q with %d observations\n%s", s.Kind, p, result.Outcome, result.Reason, len(result.Observations), s.Log())
	}
	var open []string
	for _, o := range result.Observations[1:] {
		open = append(open, o.GetExposure().GetKind()+" "+o.GetExposure().GetPath())
	}
	return result.Observations[0].GetHttp(), open
}

// TestWebServers: product, version and CPE right over http and https, the page as it is, and nothing found that is not there.
func TestWebServers(t *testing.T) {
	for name, technology := range map[string]string{"nginx": "Nginx", "apache": "Apache HTTP Server"} {
		s := Start(t, name)
		for _, number := range []int{80, 443} {
			fact, open := httpAt(t, s, s.Port(number))
			if fact.GetStatus() != 200 || fact.GetTitle() != "real" || fact.GetTls() != (number == 443) || fact.GetTraceEnabled() != (name == "apache") || len(open) != 0 {
				t.Errorf("%s %d: status %d, title %q, TLS %t, TRACE %t, open %q", name, number, fact.GetStatus(), fact.GetTitle(), fact.GetTls(), fact.GetTraceEnabled(), open)
			}
			version, cpe := "", ""
			for _, seen := range fact.GetTechnologies() {
				if seen.GetName() == technology {
					version, cpe = seen.GetVersion(), seen.GetCpe()
				}
			}
			if version != s.Version || !strings.Contains(cpe, ":"+s.Version+":") {
				t.Errorf("%s %d: version %q with CPE %q, want %q (%v)", name, number, version, cpe, s.Version, fact.GetTechnologies())
			}
			theirs := Do(t, "curl", "--silent", "--insecure", "--http1.1", "--include", "--url", fact.GetUrl())
			for header, value := range fact.GetHeaders() {
				if header != "date" && !strings.Contains(strings.ToLower(theirs), strings.ToLower(header+": "+value)) {
					t.Errorf("%s %d: curl does not see %s: %s", name, number, header, value)
				}
			}
		}
	}
}

// TestExposuresOfRealServers: what nginx and Apache serve as files, list and report themselves is found, and nothing else.
func TestExposuresOfRealServers(t *testing.T) {
	dir := Dir(t)
	for name, text := range map[string]string{
		"www/index.html": "<!doctype html><title>open</title><img src=/pictures/a.png>", "www/pictures/a.png": "x", "www/.git/HEAD": "ref: refs/heads/main\n",
		"www/.env": "A=1\nDB_PASSWORD=hunter2\n", "www/backup.sql": "-- MySQL dump 10.13\nCREATE TABLE x (y int);\n",
	} {
		File(t, dir, name, text)
	}
	config := File(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; pid %[1]s/nginx.pid; error_log %[1]s/error.log; events {}
http {
	access_log off; types { text/html html; }
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen 127.80.3.1:80; root %[1]s/www; autoindex on; location /nginx_status { stub_status; } }
	server { listen 127.80.3.2:80; root %[1]s/www; location / { try_files /index.html =404; } }
}
`, dir))
	Run(t, dir, []string{"127.80.3.1:80", "127.80.3.2:80"}, "nginx", "-c", config, "-e", dir+"/early.log")
	open := &Server{Kind: "nginx", Address: "127.80.3.1", Dir: dir}
	_, found := httpAt(t, open, Port{Number: 80, Service: "http"})
	if want := "env /.env,git /.git/HEAD,database-dump /backup.sql,server-status /nginx_status,directory-listing /pictures/"; strings.Join(found, ",") != want {
		t.Errorf("found %q, want %s", found, want)
	}
	// The same files behind a server that answers every path with its page.
	all := &Server{Kind: "nginx", Address: "127.80.3.2", Dir: dir}
	if _, found := httpAt(t, all, Port{Number: 80, Service: "http"}); len(found) != 0 {
		t.Errorf("found %q behind a catch-all answer", found)
	}
}

// shelf keeps evidence.
type shelf struct {
	mu   sync.Mutex
	kept map[string][]byte
}

// Put keeps data under its kind and digest.
func (s *shelf) Put(_ context.Context, kind string, data []byte) (*modelv1.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256(data)
	key := kind + "/" + hex.EncodeToString(sum[:])
	s.kept[key] = bytes.Clone(data)
	return &modelv1.Evidence{Blob: key}, nil
}

// TestChromium: a real browser, through the guarded proxy, sees the page of a real server: the red page is red.
func TestChromium(t *testing.T) {
	dir := Dir(t)
	File(t, dir, "www/index.html", `<!doctype html><title>red</title><body style="background:#f00"><script src="http://127.80.3.9/x.js"></script>
<script>document.body.style.background='#00f'</script>`)
	config := File(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; pid %[1]s/nginx.pid; error_log %[1]s/error.log; events {}
http {
	access_log off; types { text/html html; }
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server { listen 127.80.3.3:80; root %[1]s/www; }
}
`, dir))
	Run(t, dir, []string{"127.80.3.3:80"}, "nginx", "-c", config, "-e", dir+"/early.log")
	kept := &shelf{kept: map[string][]byte{}}
	env := probes.Env{Guard: netguard.New(netguard.Options{AllowPrivate: true}), Blobs: kept, Chromium: find(t, "chromium")}
	target := (&Server{Address: "127.80.3.3"}).Target(Port{Number: 80, Service: "http"})
	result, err := http.New(http.Options{}).Scan(t.Context(), env, &modelv1.ScanJob{
		ScanType: modelv1.ScanType_SCAN_TYPE_HTTP, Target: target,
		Options: &modelv1.ScanOptions{Profile: modelv1.Profile_PROFILE_STANDARD, Budget: durationpb.New(startTimeout)},
	})
	if err != nil {
		t.Fatal(err)
	}
	shot := result.Observations[0].GetHttp().GetScreenshot()
	if shot.GetBlob() == "" {
		t.Fatalf("no screenshot: %v", shot)
	}
	picture, err := png.Decode(bytes.NewReader(kept.kept[shot.GetBlob()]))
	if err != nil {
		t.Fatal(err)
	}
	if red, green, blue, _ := picture.At(600, 400).RGBA(); red>>8 != 0 || green>>8 != 0 || blue>>8 != 255 {
		t.Errorf("the middle is %d %d %d, want blue: its script ran", red>>8, green>>8, blue>>8)
	}
	if left, err := os.ReadDir(os.TempDir()); err == nil {
		for _, entry := range left {
			if strings.HasPrefix(entry.Name(), "riskprofiler-shot-") {
				t.Errorf("left behind %s", entry.Name())
			}
		}
	}
}
