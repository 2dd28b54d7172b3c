// Package providers asks third parties what they know: Shodan, VirusTotal, logs of certificates and their like.
//
// Each question is asked with the key of the tenant it is for, within the limits of that key, over all workers: a rate by GCRA, a
// sliding window that no burst and no late packet breaks, the provider's calendar quotas, and a circuit breaker. All of it is
// kept in the table of rate limits, because a limit that each worker keeps for itself is no limit. An answer is kept with its age
// and asked for again only when it is no longer fresh, within one tenant only.
//
// It refuses to ask about names that nobody can own and addresses that are not public, to say a key in any error, and to hammer:
// when a provider says that it is too much, nobody asks before the time it names. A provider that cannot be asked is a [Problem]
// with its reason and never an empty answer.
package providers
