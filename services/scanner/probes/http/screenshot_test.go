package http

import (
	"bytes"
	"crypto/tls"
	"image"
	"image/png"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// pretendBrowser is this test binary run as the browser: it loads the page through the proxy it is told and does what the page says.
func pretendBrowser() {
	flags := map[string]string{}
	for _, arg := range os.Args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		flags[name] = value
	}
	through, err := url.Parse(flags["--proxy-server"])
	if err != nil {
		os.Exit(2)
	}
	client := &nethttp.Client{Transport: &nethttp.Transport{Proxy: nethttp.ProxyURL(through), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	load := func(at string) (string, int) {
		request, _ := nethttp.NewRequest(nethttp.MethodGet, at, nil)
		request.Header.Set("User-Agent", flags["--user-agent"])
		answer, err := client.Do(request)
		if err != nil {
			return err.Error(), 0
		}
		defer func() { _ = answer.Body.Close() }()
		body, _ := io.ReadAll(answer.Body)
		return string(body), answer.StatusCode
	}
	body, _ := load(os.Args[len(os.Args)-1])
	_, mode, _ := strings.Cut(body, "mode ")
	mode, rest, _ := strings.Cut(mode, " ")
	file := flags["--screenshot"]
	write := func(data []byte) { _ = os.WriteFile(file, data, 0o600) }
	switch mode {
	case "good":
		if os.Getenv("CANARY") == "" {
			write(picture(shotWidth, shotHeight))
		}
	case "elsewhere":
		if text, status := load(strings.Fields(rest)[0]); status == nethttp.StatusForbidden || strings.Contains(text, "Forbidden") {
			write(picture(10, 10))
		}
	case "huge":
		write(bytes.Repeat([]byte("x"), maxShot+1))
	case "wide":
		write(picture(shotWidth+1, 1))
	case "text":
		write([]byte("\x1b[2Jno picture"))
	case "link":
		_ = os.Symlink("/etc/passwd", file)
	case "hang":
		time.Sleep(time.Hour)
	case "crash":
		_, _ = os.Stderr.WriteString("it \x1b[2J broke\n")
		os.Exit(3)
	}
	os.Exit(0)
}

func picture(width, height int) []byte {
	var out bytes.Buffer
	_ = png.Encode(&out, image.NewGray(image.Rect(0, 0, width, height)))
	return out.Bytes()
}

// shotOf scans an application whose page is body, with this binary as the browser.
func shotOf(t *testing.T, secure bool, body string, change func(*lab, *modelv1.ScanJob)) (*modelv1.Screenshot, *memory, *probes.Result) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, secure, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.URL.Path != "/" {
			nethttp.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>x</title>"+body)
	})
	world := newLab()
	world.Chromium = program
	job := jobFor(server.Listener.Addr().String(), "shop.test", secure)
	if change != nil {
		change(world, job)
	}
	result := scan(t, New(Options{}), world.Env, job)
	return result.Observations[0].GetHttp().GetScreenshot(), world.Blobs.(*memory), result
}

func TestScreenshots(t *testing.T) {
	t.Setenv("CANARY", "in the environment")
	for _, secure := range []bool{false, true} {
		shot, blobs, result := shotOf(t, secure, "mode good ", nil)
		if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || shot.GetReason() != "" || shot.GetMediaType() != "image/png" || shot.GetWidth() != shotWidth || shot.GetHeight() != shotHeight ||
			!strings.HasPrefix(shot.GetBlob(), "screenshot/") || !bytes.Equal(blobs.blobs[shot.GetBlob()], picture(shotWidth, shotHeight)) {
			t.Errorf("%v (%s): %v", result.Outcome, result.Reason, shot)
		}
	}
	for mode, want := range map[string]string{
		"huge": "more than 4 MiB", "wide": "larger than the window", "text": "no picture: png", "link": "wrote no picture", "crash": "broke", "nothing": "wrote no picture",
	} {
		shot, blobs, result := shotOf(t, false, "mode "+mode+" ", nil)
		if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || shot.GetBlob() != "" || !strings.Contains(shot.GetReason(), want) || strings.ContainsAny(shot.GetReason(), "\x1b\n") {
			t.Errorf("%s: %v (%s) %v", mode, result.Outcome, result.Reason, shot)
		}
		for name := range blobs.blobs {
			if strings.HasPrefix(name, "screenshot/") {
				t.Errorf("%s: stored %s", mode, name)
			}
		}
	}
}

// The browser reaches the target and nothing else, whatever a page makes it ask for.
func TestBrowserReachesNothingElse(t *testing.T) {
	var touched atomic.Int32
	other := httptest.NewServer(nethttp.HandlerFunc(func(nethttp.ResponseWriter, *nethttp.Request) { touched.Add(1) }))
	defer other.Close()
	for _, place := range []string{other.URL, "http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", strings.Replace(other.URL, "127.0.0.1", "shop.test", 1), "http://localhost/"} {
		if shot, _, _ := shotOf(t, false, "mode elsewhere "+place+" ", nil); shot.GetWidth() != 10 {
			t.Errorf("%s: %v, want it refused", place, shot)
		}
	}
	if touched.Load() != 0 {
		t.Errorf("another server was reached %d times", touched.Load())
	}
}

// A browser that hangs ends with the scan's time, and the scan has all the rest.
func TestBrowserThatHangs(t *testing.T) {
	shot, _, result := shotOf(t, false, "mode hang ", func(_ *lab, job *modelv1.ScanJob) { job.Options.Budget = durationpb.New(3 * time.Second) })
	if len(result.Observations) != 1 || !strings.Contains(shot.GetReason(), "not done") {
		t.Errorf("%v (%s) %v", result.Outcome, result.Reason, shot)
	}
}

func TestNoScreenshot(t *testing.T) {
	for name, change := range map[string]func(*lab, *modelv1.ScanJob){
		"not installed": func(world *lab, _ *modelv1.ScanJob) { world.Chromium = "" },
		"quick":         func(_ *lab, job *modelv1.ScanJob) { job.Options.Profile = modelv1.Profile_PROFILE_QUICK },
	} {
		if shot, _, _ := shotOf(t, false, "mode good ", change); shot != nil {
			t.Errorf("%s: %v", name, shot)
		}
	}
	shot, _, result := shotOf(t, false, "mode good ", func(world *lab, _ *modelv1.ScanJob) { world.Chromium = "/nonexistent/chromium" })
	if result.Outcome != modelv1.Outcome_OUTCOME_COMPLETE || !strings.Contains(shot.GetReason(), "RISKPROFILER_CHROMIUM") {
		t.Errorf("%v %v", result.Outcome, shot)
	}
}
