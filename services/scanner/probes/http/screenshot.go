package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	nethttp "net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/proxied"
)

// Bounds of a screenshot.
const (
	// shotWidth and shotHeight are the window in pixels.
	shotWidth, shotHeight = 1280, 800
	// maxShot bounds the picture: a window of noise has 3 MiB as PNG.
	maxShot = 4 << 20
	// shotTime bounds one run of the browser; pageTime is what it gives the page to load.
	shotTime, pageTime = 15 * time.Second, 6 * time.Second
	// shotBytes is what a page and all that it loads may weigh.
	shotBytes = 16 << 20
	// shotPermits are taken for what the browser asks for inside of its connections, where nobody can count.
	shotPermits = 20
	// browsers is how many of them run at a time in one process.
	browsers = 2
)

// shotLimits are those of the browser's processes. It reserves terabytes of addresses, so what counts is what it writes to (of each
// process) and what is resident (of all).
var shotLimits = proxied.Limits{Data: 4 << 30, Resident: 1536 << 20, FileBytes: 64 << 20, Files: 1024, Grace: time.Second}

// shoot takes the screenshot of a page that the origin itself serves, where the operator installed a browser. That there is none is no
// gap in the coverage: no check reads it.
func (s *site) shoot(ctx context.Context, p *Probe, v *visit, found *findings) error {
	own := v.own
	if s.env.Chromium == "" || s.env.Blobs == nil || own.status >= nethttp.StatusInternalServerError || !own.isHTML() || v.toTLS {
		return nil
	}
	if found.enough(ctx) {
		return nil
	}
	found.screenshot = &modelv1.Screenshot{}
	picture, err := s.photograph(ctx, p, v)
	if err != nil {
		found.screenshot.Reason = probes.SafeString(err.Error(), 256)
	} else if found.screenshot, err = s.develop(ctx, picture); err != nil {
		return fmt.Errorf("store screenshot: %w", err)
	}
	return nil
}

// develop stores a picture that is one. The error is that of the store.
func (s *site) develop(ctx context.Context, picture []byte) (*modelv1.Screenshot, error) {
	config, err := png.DecodeConfig(bytes.NewReader(picture))
	if err == nil && (config.Width > shotWidth || config.Height > shotHeight) {
		err = errors.New("it is larger than the window")
	}
	if err == nil {
		_, err = png.Decode(bytes.NewReader(picture))
	}
	out := &modelv1.Screenshot{}
	if err != nil {
		out.Reason = probes.SafeString("the browser wrote no picture: "+err.Error(), 256)
		return out, nil //nolint:nilerr // the fact says so
	}
	evidence, err := s.env.Blobs.Put(context.WithoutCancel(ctx), "screenshot", picture)
	if err == nil {
		out = &modelv1.Screenshot{Blob: evidence.GetBlob(), MediaType: "image/png", Width: uint32(config.Width), Height: uint32(config.Height)}
	}
	return out, err
}

// photograph runs the browser on the page and returns what it wrote.
func (s *site) photograph(ctx context.Context, p *Probe, v *visit) ([]byte, error) {
	if info, err := os.Stat(s.env.Chromium); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return nil, errors.New("RISKPROFILER_CHROMIUM names no program that can be run")
	}
	ctx, cancel := context.WithTimeout(ctx, shotTime)
	defer cancel()
	select {
	case p.browsers <- struct{}{}:
		defer func() { <-p.browsers }()
	case <-ctx.Done():
		return nil, errors.New("other screenshots took all the time")
	}
	machine := s.machine(ctx)
	if err := s.env.TakePermits(ctx, machine, shotPermits); err != nil {
		return nil, errors.New("no permits in time")
	}
	at := proxied.Place{Host: s.host, Port: uint16(s.port)}
	if addr, err := netip.ParseAddr(machine); err == nil {
		at.Addr = addr.Unmap()
	}
	// A browser cannot be told a password for its proxy.
	way, err := proxied.Start(ctx, s.env, at, proxied.Options{Open: true, Bytes: shotBytes})
	if err != nil {
		return nil, err
	}
	defer way.Close()
	dir, err := os.MkdirTemp("", "riskprofiler-shot-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the browser: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "page.png")
	ended := proxied.Run(ctx, shotLimits, browse(s.env, dir, file, way.Address(), v.own.url.String()), io.Discard)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the browser was not done after %v", shotTime)
	}
	picture, err := readShot(file)
	switch {
	case err != nil && ended != nil:
		return nil, fmt.Errorf("the browser failed: %w", ended)
	case err == nil && !way.Reached():
		return nil, errors.New("the browser did not come through its proxy")
	}
	return picture, err
}

// readShot reads what the browser wrote, which must be a file of its own.
func readShot(name string) ([]byte, error) {
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("the browser wrote no picture")
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, errors.New("the browser's picture cannot be read")
	}
	defer func() { _ = file.Close() }()
	out, err := io.ReadAll(io.LimitReader(file, maxShot+1))
	if err != nil || len(out) > maxShot {
		return nil, fmt.Errorf("the browser's picture has more than %d MiB", maxShot>>20)
	}
	return out, nil
}

// browse is the command line (https://peter.sh/experiments/chromium-command-line-switches/): everything goes through the proxy, loopback
// too; names are resolved by nobody else; nothing is asked of the browser's maker; a fresh profile that is deleted.
func browse(env probes.Env, dir, file, proxy, page string) proxied.Command {
	args := []string{
		"--headless", "--proxy-server=http://" + proxy, "--proxy-bypass-list=<-loopback>", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
		"--screenshot=" + file, fmt.Sprintf("--window-size=%d,%d", shotWidth, shotHeight), "--hide-scrollbars", fmt.Sprintf("--timeout=%d", pageTime.Milliseconds()),
		"--user-data-dir=" + filepath.Join(dir, "profile"), "--user-agent=" + probes.UserAgent(env), "--ignore-certificate-errors",
		"--disable-quic", "--disable-http2", "--dns-prefetch-disable", "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
		"--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-default-apps", "--disable-domain-reliability", "--disable-client-side-phishing-detection", "--disable-breakpad",
		"--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,CertificateTransparencyComponentUpdater",
		"--metrics-recording-only", "--no-pings", "--mute-audio", "--deny-permission-prompts", "--password-store=basic", "--disable-gpu",
		"--disable-dev-shm-usage", "--renderer-process-limit=1", "--js-flags=--max-old-space-size=256",
	}
	if os.Geteuid() == 0 {
		// Its sandbox does not work for root. Operators run the scanner as another user.
		args = append(args, "--no-sandbox")
	}
	return proxied.Command{Program: env.Chromium, Args: append(args, page), Dir: dir, Env: []string{
		"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "XDG_CACHE_HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/bin:/bin", "LANG=C.UTF-8",
	}}
}
