package app

import "fmt"

// CollectorSettings are the settings of Go's garbage collector for a function with this much memory in MiB, by name of their
// environment variables (https://pkg.go.dev/runtime#hdr-Environment_Variables). They are given from outside because a process
// that read them itself would have allocated its init by then.
//
// At Go's own setting the first collection begins at 4 MiB of heap, which is where the init of a function ends: it would run in
// every cold start and free nothing. At 200 % it begins at 8 MiB. The limit, at four fifths of the memory, keeps a larger heap
// from growing into what Lambda ends a function for; the rest is the binary's own pages, stacks and what is mapped.
func CollectorSettings(memoryMiB int) map[string]string {
	return map[string]string{"GOGC": "200", "GOMEMLIMIT": fmt.Sprintf("%dMiB", memoryMiB*4/5)}
}
