package tls

import (
	"slices"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// gradeMethod is the method of the grade (https://github.com/ssllabs/research/wiki/SSL-Server-Rating-Guide). What it wants that
// this scan does not see is left out: HSTS, which A+ needs, and the simulation of browsers.
const gradeMethod = "SSL Labs SSL Server Rating Guide, version 2009r (16 May 2025)"

// protocolScores are those of the guide, table "Protocol support rating guide".
var protocolScores = map[string]uint32{"SSLv2": 0, "SSLv3": 80, "TLS1.0": 90, "TLS1.1": 95, "TLS1.2": 100, "TLS1.3": 100}

// letters are the grades by score, and their order.
var letters = []struct {
	least  uint32
	letter string
}{{80, "A"}, {65, "B"}, {50, "C"}, {35, "D"}, {20, "E"}, {0, "F"}}

// letterOrder is the order of all grades, best first.
var letterOrder = []string{"A", "A-", "B", "C", "D", "E", "F"}

// grade grades a finished fact. It is a pure function of it.
func grade(fact *modelv1.TlsFact) *modelv1.TlsGrade {
	if len(fact.GetProtocols()) == 0 {
		return nil
	}
	out := &modelv1.TlsGrade{
		Method: gradeMethod, ProtocolScore: protocolScore(fact), KeyExchangeScore: exchangeScore(fact), CipherScore: cipherScore(fact),
	}
	out.Score = (30*out.ProtocolScore + 30*out.KeyExchangeScore + 40*out.CipherScore + 50) / 100
	if out.ProtocolScore == 0 || out.KeyExchangeScore == 0 || out.CipherScore == 0 {
		out.Score = 0
	}
	letter := "F"
	for _, l := range letters {
		if out.GetScore() >= l.least {
			letter = l.letter
			break
		}
	}
	for _, rule := range gradeRules {
		if !rule.holds(fact) {
			continue
		}
		out.Limits = append(out.Limits, rule.most+": "+rule.reason)
		if slices.Index(letterOrder, rule.most) > slices.Index(letterOrder, letter) {
			letter = rule.most
		}
	}
	out.Letter, out.LetterWithoutTrust = letter, letter
	switch {
	case len(fact.GetChain()) > 0 && !fact.GetNameMatches():
		out.Letter = "M"
		out.Limits = append(out.Limits, "M: the certificate is for another name")
	case len(fact.GetChain()) > 0 && !fact.GetTrusted():
		out.Letter = "T"
		out.Limits = append(out.Limits, "T: the certificate is not trusted")
	}
	return out
}

// protocolScore is the mean of the best and the worst version.
func protocolScore(fact *modelv1.TlsFact) uint32 {
	best, worst := uint32(0), uint32(100)
	for _, name := range fact.GetVersions() {
		best, worst = max(best, protocolScores[name]), min(worst, protocolScores[name])
	}
	return (best + worst) / 2
}

// exchangeScore is that of the weakest way to agree on a key, by the strength of an RSA key or prime.
func exchangeScore(fact *modelv1.TlsFact) uint32 {
	if hasClass(fact, "anon") {
		return 0
	}
	score := uint32(100)
	weaker := func(bits uint32) {
		switch {
		case bits == 0: // not used, or not known
		case bits < 512:
			score = min(score, 20)
		case bits < 1024:
			score = min(score, 40)
		case bits < 2048:
			score = min(score, 80)
		case bits < 4096:
			score = min(score, 90)
		}
	}
	if hasClass(fact, "export") {
		score = 40
	}
	if len(fact.GetChain()) > 0 {
		weaker(rsaStrength(fact.GetChain()[0]))
	}
	weaker(fact.GetKeyExchange().GetDhBits())
	return score
}

// rsaStrength is the length of an RSA key that is as strong (NIST SP 800-57 part 1 revision 5, table 2).
func rsaStrength(leaf *modelv1.Certificate) uint32 {
	switch bits := leaf.GetKeyBits(); leaf.GetKeyType() {
	case "rsa", "dsa":
		return bits
	case "ecdsa", "ed25519":
		switch {
		case bits >= 384:
			return 7680
		case bits >= 250:
			return 3072
		case bits >= 224:
			return 2048
		default:
			return 1024
		}
	}
	return 0
}

// cipherScore is the mean of the strongest and the weakest cipher.
func cipherScore(fact *modelv1.TlsFact) uint32 {
	best, worst := uint32(0), uint32(256)
	seen := false
	for _, p := range fact.GetProtocols() {
		for _, c := range p.GetCiphers() {
			best, worst, seen = max(best, c.GetBits()), min(worst, c.GetBits()), true
		}
	}
	if !seen {
		return 0
	}
	return (bitScore(best) + bitScore(worst)) / 2
}

func bitScore(bits uint32) uint32 {
	switch {
	case bits == 0:
		return 0
	case bits < 128:
		return 20
	case bits < 256:
		return 80
	}
	return 100
}

func hasClass(fact *modelv1.TlsFact, name string) bool {
	return slices.Contains(fact.GetCipherClasses(), name)
}

func speaks(fact *modelv1.TlsFact, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(fact.GetVersions(), n) })
}

// gradeRules are the guide's rules that limit the grade, from its section "Changes": the most that is given where one holds.
var gradeRules = []struct {
	most, reason string
	holds        func(*modelv1.TlsFact) bool
}{
	{"F", "SSL 2.0 is offered", func(f *modelv1.TlsFact) bool { return speaks(f, "SSLv2") }},
	{"F", "export ciphers are accepted", func(f *modelv1.TlsFact) bool { return hasClass(f, "export") }},
	{"F", "ciphers without encryption are accepted", func(f *modelv1.TlsFact) bool { return hasClass(f, "null") }},
	{"F", "ciphers without authentication are accepted", func(f *modelv1.TlsFact) bool { return hasClass(f, "anon") }},
	{"F", "the server discloses memory in heartbeats (Heartbleed)", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetHeartbeatOverread() == wordYes }},
	{"F", "early ChangeCipherSpec is accepted (CVE-2014-0224)", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetEarlyChangeCipher() == wordYes }},
	{"F", "the server discloses memory in session ids (Ticketbleed)", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetSessionIdOverread() == wordYes }},
	{"F", "RSA paddings can be told apart (ROBOT)", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetRsaOracle() == wordYes }},
	{"F", "insecure renegotiation by the client", func(f *modelv1.TlsFact) bool {
		return f.GetBehaviour().GetSecureRenegotiation() == wordNo && f.GetBehaviour().GetClientRenegotiation() == wordYes
	}},
	{"F", "the key is shorter than 1,024 bits", func(f *modelv1.TlsFact) bool { return weakestKey(f) < 1024 }},
	{"F", "Diffie-Hellman of less than 1,024 bits", func(f *modelv1.TlsFact) bool { b := f.GetKeyExchange().GetDhBits(); return b > 0 && b < 1024 }},
	{"C", "SSL 3.0 is offered (POODLE)", func(f *modelv1.TlsFact) bool { return speaks(f, "SSLv3") }},
	{"C", "compression before encryption (CRIME)", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetCompression() == wordYes }},
	{"C", "neither TLS 1.2 nor TLS 1.3 is offered", func(f *modelv1.TlsFact) bool { return !speaks(f, "TLS1.2", "TLS1.3") }},
	{"C", "RC4 is accepted in TLS 1.1 or newer", func(f *modelv1.TlsFact) bool { return modernWith(f, "rc4") }},
	{"C", "ciphers with blocks of 64 bits are accepted in TLS 1.1 or newer", func(f *modelv1.TlsFact) bool { return modernWith(f, "3des", "des", "old-64-bit") }},
	{"B", "RC4 is accepted", func(f *modelv1.TlsFact) bool { return hasClass(f, "rc4") }},
	{"B", "TLS 1.0 or 1.1 is offered", func(f *modelv1.TlsFact) bool { return speaks(f, "TLS1.0", "TLS1.1") }},
	{"B", "Diffie-Hellman of less than 2,048 bits", func(f *modelv1.TlsFact) bool { b := f.GetKeyExchange().GetDhBits(); return b > 0 && b < 2048 }},
	{"B", "the key is shorter than 2,048 bits", func(f *modelv1.TlsFact) bool { return weakestKey(f) < 2048 }},
	{"B", "the certificate chain is incomplete", func(f *modelv1.TlsFact) bool { return f.GetTrustError() == trustIncomplete }},
	{"B", "no forward secrecy", func(f *modelv1.TlsFact) bool { return !f.GetForwardSecrecy() }},
	{"B", "no authenticated encryption (AEAD)", func(f *modelv1.TlsFact) bool { return !hasClass(f, "aead") }},
	{"A-", "secure renegotiation is not supported", func(f *modelv1.TlsFact) bool { return f.GetBehaviour().GetSecureRenegotiation() == wordNo }},
	{"A-", "TLS 1.3 is not offered", func(f *modelv1.TlsFact) bool { return !speaks(f, "TLS1.3") }},
}

// weakestKey is the strength of the leaf's key, a large one where there is none.
func weakestKey(f *modelv1.TlsFact) uint32 {
	if len(f.GetChain()) == 0 || f.GetChain()[0].GetKeyBits() == 0 {
		return 1 << 16
	}
	return rsaStrength(f.GetChain()[0])
}

// modernWith says that TLS 1.1 or newer accepts a cipher of one of the classes.
func modernWith(f *modelv1.TlsFact, classes ...string) bool {
	for _, p := range f.GetProtocols() {
		if p.GetVersion() == "SSLv2" || p.GetVersion() == "SSLv3" || p.GetVersion() == "TLS1.0" {
			continue
		}
		for _, c := range p.GetCiphers() {
			if slices.ContainsFunc(classes, func(name string) bool { return slices.Contains(c.GetClasses(), name) }) {
				return true
			}
		}
	}
	return false
}
