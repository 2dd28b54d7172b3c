// Package real compares the scan types with real servers from Debian packages, and with the programs that others scan with.
//
// It starts each server by hand on loopback addresses of its own, with a configuration it writes itself, in the foreground,
// and ends it by its process id. Everything but this comment is behind the build tag realservers: `make test-real` installs the
// packages (tools/realservers.sh) and runs it. Nothing here reaches beyond loopback. See README.md for how to add a
// comparison.
package real
