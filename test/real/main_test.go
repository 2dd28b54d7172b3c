//go:build realservers

package real

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// Every server starts and listens where its table says.
func TestServersStart(t *testing.T) {
	for _, name := range Kinds() {
		t.Run(name, func(t *testing.T) {
			s := Start(t, name)
			t.Logf("%s %s (package %s) on %s", s.Kind, s.Version, s.PackageVersion, s.Address)
		})
	}
}
