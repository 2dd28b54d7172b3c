// Package drivers lists which drivers a process runs on: the only place that imports them. A list is a function that opens
// its backends from settings. The build tag aws chooses which one a binary has, so that a function links no SQLite and the
// all-in-one no SDK; Default is the chosen one.
package drivers
