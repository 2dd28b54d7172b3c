// Package footprint gives memory back to the machine when a long-running process has become quiet.
//
// What the start or a burst of work needed stays with a process for long: the heap is returned over minutes, and pages of the binary,
// once touched, never (Linux maps 64 KiB around each touched byte, so a start that runs a little of everything maps nearly all of a
// large binary). A platform that waits for its next schedule should not weigh on a small machine for that.
package footprint

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	// every is how often a process looks whether it is quiet.
	every = 5 * time.Second
	// quietShare is the share of one processor below which a process is quiet: ticks and polls of an idle platform use under 1 %.
	quietShare = 0.03
	// quietLooks is how many looks in a row must find it quiet: a pause between two requests is no rest.
	quietLooks = 2
	// worth is how much processor time must have been used since memory was given back, for doing it again: less cannot have
	// gathered much, and the ticks of an idle platform shall not cause it.
	worth = 500 * time.Millisecond
)

// Keep gives memory back each time that the process has become quiet, until ctx ends. Where the system does not say how much
// processor time was used, it does nothing.
func Keep(ctx context.Context) {
	last, ok := used()
	if !ok {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	// The start counts as work: it is what most is given back of.
	w := watch{since: worth}
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now, _ := used()
		if w.look(now - last) {
			giveBack()
			now, _ = used() // what giving back costs is no work
		}
		last = now
	}
}

// watch decides when memory is given back.
type watch struct {
	quiet int           // looks in a row that found the process quiet
	since time.Duration // processor time used since memory was given back
}

// look takes the processor time used since the look before and says whether memory is to be given back now.
func (w *watch) look(used time.Duration) bool {
	w.since += used
	if used > time.Duration(quietShare*float64(every)) {
		w.quiet = 0
		return false
	}
	w.quiet++
	if w.quiet < quietLooks || w.since < worth {
		return false
	}
	*w = watch{}
	return true
}

// giveBack collects garbage, returns what is free to the system and lets go of the binary's unchanged pages. These stay in the page
// cache, where the system may take them as it needs; one that is used again is mapped again without reading the disk.
func giveBack() {
	debug.FreeOSMemory()
	letGo()
}
