// Package resource has the few conventions that all contracts share about names and pages of resources
// (https://google.aip.dev/122, https://google.aip.dev/158). It knows no resource.
package resource

import (
	"strings"
	"time"
)

// DefaultPageSize is the page of a list request that names none.
const DefaultPageSize = 50

// ID is the last part of a resource name: "01h2" of "plans/01h2". A text without a slash is its own id.
func ID(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// PageSize is the page size that a request means by n: 0 stands for DefaultPageSize. Contracts bound it above.
func PageSize(n int32) int {
	if n == 0 {
		return DefaultPageSize
	}
	return int(n)
}

// SortableTime is a time as text that sorts by time, in UTC with nanoseconds: for keys of tables.
func SortableTime(t time.Time) string { return t.UTC().Format("20060102T150405.000000000") }
