// Command pack makes the archives of all functions and of the layer, after `make lambda` built the binaries.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/riskprofiler/riskprofiler/deploy/archive"
	"github.com/riskprofiler/riskprofiler/deploy/plan"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// run prints the binaries if it is called without a directory, and packs them in the directory otherwise.
func run(args []string) error {
	services, err := plan.Services()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		for _, s := range services {
			for _, f := range s.Functions {
				fmt.Println(s.Name + "/" + f.Binary)
			}
		}
		return nil
	}
	sizes, err := archive.Pack(args[0], services)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		fmt.Printf("%-32s %6.2f MB\n", name, float64(sizes[name])/1e6)
	}
	return nil
}
