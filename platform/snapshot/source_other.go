//go:build !linux

package snapshot

func openSource(path string) (source, error) { return openOnDisk(path) }
