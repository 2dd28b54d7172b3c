// Package consent shows that nothing is probed without a proof of ownership that is there now: the whole platform runs, proofs are
// missing, stale, moved, deleted, wildcards and aliases, and listeners that know nothing of the platform count who comes.
package consent
