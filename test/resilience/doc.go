// Package resilience holds the tests of what must stay true while processes are killed, targets are hostile and addresses
// are not permitted.
package resilience
