package vuln

import (
	"context"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/proxied"
)

// limits bound one run of the engine.
type limits struct {
	// outputBytes, lines and lineBytes bound what is read of what it writes; events are kept.
	outputBytes int64
	lines       int
	lineBytes   int
	events      int
	// memory, fileBytes and files are limits of the process and of each that it starts: address space, largest file, descriptors.
	memory, fileBytes, files uint64
	// grace is how long pipes are waited for that somebody else keeps open.
	grace time.Duration
}

// goMemory is told to the engine's own runtime (GOMEMLIMIT): below the address space that it may have, of which Go reserves more
// than it uses.
const goMemory = 1 << 30

var defaultLimits = limits{
	outputBytes: 32 << 20, lines: 20_000, lineBytes: 256 << 10, events: 1000,
	memory: 8 << 30, fileBytes: 256 << 20, files: 512, grace: time.Second,
}

// run runs the engine to its end, the context's or its bounds'.
func run(ctx context.Context, l limits, c *proxied.Command, out *output) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out.stop = cancel
	defer out.end()
	return proxied.Run(ctx, proxied.Limits{Memory: l.memory, FileBytes: l.fileBytes, Files: l.files, Grace: l.grace}, *c, out)
}
