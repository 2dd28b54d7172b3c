// Package feeds reads the published formats of vulnerability knowledge and gives them one shape: CVE Record 5.x with CISA's
// container, NVD 2.0, OSV, CISA KEV and EPSS, from bytes, files, archives and the network.
//
// Whatever comes from a feed is foreign: it is bounded in bytes, depth and count, archives by the bytes that really come out of
// them. The readers are strict about what is matched on (ids, ranges, dates, scores) and tolerant about what they do not
// know; what they do not understand they say, record by record, to [Out.Skip].
//
// The package refuses to decide what a range means, to join records of several feeds, and to store anything.
package feeds
