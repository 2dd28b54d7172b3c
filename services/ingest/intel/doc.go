// Package intel keeps vulnerability knowledge: it takes what feeds read, joins it to advisories and products, and publishes
// snapshots of it.
//
//	feeds -> Batch -> inbox -> records of each partition -> files of each partition -> release
//
// Advisories are cut into partitions, ranges of ids that change together. What a feed read is one immutable blob and one row in
// the inbox, written together with the feed's cursor; a partition takes the rows that concern it and becomes new blobs, named by
// one row that is written together with what it took from the inbox; a release is one row that names the files of all partitions.
// Every row is written under a condition on its revision, so a process may die at any point and two may work at once: what is lost
// is one step, which is done again.
//
// Of two records with the same key the one that was modified later counts: merging is a join, and neither the order of feeds nor
// how often something was read changes the snapshot.
//
// The package refuses to judge and to match: that is the correlator's business.
package intel
