// Package lab is a small network that is exposed on purpose, for the demonstration and the end-to-end tests: a DNS server
// with good and bad zones, web applications, TLS servers and other services on loopback addresses, each with one fault that
// a scan has to find, beside a few that are as they should be. It also knows the truth: every finding that a correct scan of
// it has, so that what is missing and what is too much both show.
//
// It refuses every network but loopback and every port below 1024, so it needs no privileges and nobody else can reach it.
// What it serves is made up: the keys are not keys and the passwords open nothing.
//
// Labs on different networks run side by side. This package's own tests use 127.200.0.0/16 to 127.202.0.0/16; others choose
// another second number.
//
// The servers are data. hosts*.go and zones.go are the tables; a row says what runs, and which checks hold on it.
package lab
