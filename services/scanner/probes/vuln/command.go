package vuln

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/proxied"
)

const (
	// fastest and slowest bound the requests a second that the engine is told; what it sends is bounded by permits besides.
	fastest, slowest = 150, 1
)

// newCommand writes the command line and the files that it names. The address of the proxy holds its password, so that it is in a
// file and not among the arguments, which every user of the machine can read.
func newCommand(env probes.Env, job *modelv1.ScanJob, at place, proxy, dir string) (*proxied.Command, error) {
	proxyFile := filepath.Join(dir, "proxy.txt")
	if err := os.WriteFile(proxyFile, []byte(proxy+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the engine's proxy: %w", err)
	}
	for _, sub := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("make a folder for the engine: %w", err)
		}
	}
	rate := requestRate(env, at)
	args := []string{
		"-target", at.url, "-proxy", proxyFile, "-templates", env.Nuclei.Templates,
		"-tags", strings.Join(tags(job), ","), "-exclude-tags", strings.Join(excluded(job), ","),
		// Only these go through the proxy.
		"-type", "http",
		"-header", "User-Agent: " + probes.UserAgent(env),
		// JSON lines and nothing else, without the requests and answers, which may hold secrets and are large.
		"-jsonl", "-silent", "-no-color", "-omit-raw", "-omit-template",
		// No update check, no out-of-band server of strangers, no waiting for input.
		"-disable-update-check", "-no-interactsh", "-no-stdin",
		"-rate-limit", strconv.Itoa(rate), "-concurrency", strconv.Itoa(min(rate, 10)), "-bulk-size", "1",
		"-timeout", "10", "-retries", "0", "-max-host-error", "30",
	}
	return &proxied.Command{Program: env.Nuclei.Program, Args: args, Dir: dir, Env: []string{
		"HOME=" + filepath.Join(dir, "home"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "home"), "XDG_CACHE_HOME=" + filepath.Join(dir, "home"),
		"TMPDIR=" + filepath.Join(dir, "tmp"), "PATH=/nonexistent", "LANG=C.UTF-8", "GOMEMLIMIT=" + strconv.Itoa(goMemory), "NO_COLOR=1",
	}}, nil
}

// requestRate is the number of requests a second that the permits of the target bear.
func requestRate(env probes.Env, at place) int {
	if env.Rate == nil {
		return fastest
	}
	return int(min(max(env.Rate(at.way().PermitHost()), slowest), fastest))
}
