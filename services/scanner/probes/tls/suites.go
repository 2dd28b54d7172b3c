package tls

import (
	_ "embed" // for the registry below
	"strconv"
	"strings"
	"sync"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// suiteData is the registry of cipher suites: dated data with its source in its first lines.
//
//go:embed data/suites.csv
var suiteData string

// suite is one cipher suite: its number, its name in the IANA TLS Cipher Suites registry, and what OpenSSL calls it.
type suite struct {
	id            uint16
	name, openssl string
}

// registry is the table of suites in the order of their numbers, and by number. It is read when the first scan begins.
var registry = sync.OnceValue(func() *suiteTable {
	out := &suiteTable{byID: make(map[uint16]suite)}
	for line := range strings.Lines(suiteData) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") || len(fields) != 4 {
			continue
		}
		id, err := strconv.ParseUint(fields[0], 16, 16)
		if err != nil {
			continue // a test sees to it that there is no such line
		}
		s := suite{id: uint16(id), name: fields[1], openssl: fields[2]}
		out.all = append(out.all, s)
		out.byID[s.id] = s
	}
	return out
})

type suiteTable struct {
	all  []suite
	byID map[uint16]suite
}

// suiteOf finds a suite by its number; one that we never offered has no name.
func suiteOf(id uint16) (suite, bool) {
	s, known := registry().byID[id]
	return s, known
}

// class is a set of properties of a cipher suite.
type class uint16

const (
	classNull class = 1 << iota
	classAnon
	classExport
	classRC4
	classDES
	class3DES
	classCBC
	classAEAD
	classStaticRSA
	// classOld64 are the other block ciphers of 64 bits: IDEA, RC2 and GOST 28147.
	classOld64
	// classForwardSecret is no reported class of its own: it is TlsFact.forward_secrecy.
	classForwardSecret
)

// legacyClasses are those that a server may accept in an old version only: RFC 4346 forbids export suites from TLS 1.1 on, RFC
// 5469 takes single DES out of TLS 1.2, and RFC 7465 forbids RC4, so servers tie them to the oldest version they speak.
const legacyClasses = classNull | classAnon | classExport | classRC4 | classDES | class3DES | classOld64

// classNames are the words of TlsFact.cipher_classes, worst first.
var classNames = []struct {
	class class
	name  string
}{
	{classNull, "null"}, {classAnon, "anon"}, {classExport, "export"}, {classRC4, "rc4"}, {classDES, "des"},
	{class3DES, "3des"}, {classOld64, "old-64-bit"}, {classCBC, "cbc"}, {classAEAD, "aead"}, {classStaticRSA, "static-rsa"},
}

// names lists the reported classes in c.
func (c class) names() []string {
	var out []string
	for _, known := range classNames {
		if c&known.class != 0 {
			out = append(out, known.name)
		}
	}
	return out
}

// classes reads the properties of a suite from its registered name, whose parts have a fixed meaning (RFC 5246 appendix C).
func (s suite) classes() class {
	var out class
	has := func(c class, parts ...string) {
		for _, part := range parts {
			if strings.Contains(s.name, part) {
				out |= c
				return
			}
		}
	}
	has(classNull, "_WITH_NULL_", "_SHA256_SHA256", "_SHA384_SHA384")
	has(classAnon, "_anon_")
	has(classExport, "_EXPORT")
	has(classRC4, "_RC4_")
	has(classDES, "_DES_CBC_", "_DES40_")
	has(class3DES, "_3DES_")
	has(classOld64, "_IDEA_", "_RC2_", "_28147_", "_MAGMA_")
	has(classCBC, "_CBC_")
	has(classAEAD, "_GCM_", "_CCM", "_POLY1305_", "_AEGIS_", "_MGM_")
	has(classStaticRSA, "TLS_RSA_WITH_", "SSL_RSA_FIPS_")
	exchange := s.keyExchange()
	if out&(classNull|classAnon|classExport) == 0 && (s.tls13() || exchange == "dhe" || exchange == "ecdhe") {
		out |= classForwardSecret
	}
	return out
}

// tls13 says that the suite belongs to TLS 1.3, whose suites name no key exchange (RFC 8446 appendix B.4).
func (s suite) tls13() bool {
	return s.id>>8 == 0x13 || s.id == 0x00c6 || s.id == 0x00c7 || s.id == 0xc0b4 || s.id == 0xc0b5 || (s.id >= 0xc103 && s.id <= 0xc106)
}

// only12 says that the suite may be chosen in TLS 1.2 only: it names the hash of the key derivation, or is an AEAD (RFC 5246
// section 6.2.3.3, RFC 5289 section 3).
func (s suite) only12() bool {
	if strings.Contains(s.name, "PSK_") && s.classes()&classAEAD == 0 {
		return false // RFC 5487 section 3.2, RFC 5489 section 3.2: with an older version they use its own hash
	}
	return strings.Contains(s.name, "_SHA256") || strings.Contains(s.name, "_SHA384") || s.classes()&classAEAD != 0
}

// exchanges are the words of TlsCipher.key_exchange by the start of a suite's name, the longer ones first.
var exchanges = []struct{ prefix, word string }{
	{"TLS_ECDHE_PSK_", "ecdhe-psk"}, {"TLS_DHE_PSK_", "dhe-psk"}, {"TLS_PSK_DHE_", "dhe-psk"}, {"TLS_RSA_PSK_", "rsa-psk"}, {"TLS_PSK_", "psk"},
	{"TLS_ECDH_anon_", "ecdhe"}, {"TLS_DH_anon_", "dhe"}, {"TLS_ECDHE_", "ecdhe"}, {"TLS_DHE_", "dhe"}, {"TLS_ECDH_", "ecdh"}, {"TLS_DH_", "dh"},
	{"TLS_RSA_", "rsa"}, {"SSL_RSA_", "rsa"}, {"TLS_SRP_", "srp"}, {"TLS_KRB5_", "krb5"}, {"TLS_GOST", "gost"}, {"TLS_ECCPWD_", "eccpwd"},
}

// keyExchange is a word of TlsCipher.key_exchange.
func (s suite) keyExchange() string {
	if s.tls13() {
		return "tls13"
	}
	for _, known := range exchanges {
		if strings.HasPrefix(s.name, known.prefix) {
			return known.word
		}
	}
	return ""
}

// strengths are the bits of security of the ciphers by a part of the suite's name, the first that fits: of what the key can
// give, 3DES keeps 112 (NIST SP 800-57 part 1 section 5.6.1.1), and export suites 40 or 56.
var strengths = []struct {
	part string
	bits uint32
}{
	{"_NULL", 0}, {"_SHA256_SHA256", 0}, {"_SHA384_SHA384", 0}, {"EXPORT1024", 56}, {"EXPORT", 40}, {"_3DES_", 112}, {"_DES_", 56},
	{"_RC4_128", 128}, {"_IDEA_", 128}, {"_SEED_", 128}, {"_SM4_", 128}, {"_128", 128}, {"_256_GCM", 256}, {"_256_CBC", 256}, {"_256_CCM", 256},
	{"_AEGIS_256", 256}, {"_CHACHA20_", 256}, {"_28147_", 256}, {"_KUZNYECHIK_", 256}, {"_MAGMA_", 256},
}

// bits is the strength of the encryption.
func (s suite) bits() uint32 {
	for _, known := range strengths {
		if strings.Contains(s.name, known.part) {
			return known.bits
		}
	}
	return 0
}

// fact writes the suite down.
func (s suite) fact() *modelv1.TlsCipher {
	return &modelv1.TlsCipher{
		Id: uint32(s.id), Name: s.name, OpensslName: s.openssl, Bits: s.bits(), KeyExchange: s.keyExchange(), Classes: s.classes().names(),
	}
}

// suitesThat lists the numbers of the suites that fit, in the order of the registry.
func suitesThat(fits func(suite) bool) []uint16 {
	var out []uint16
	for _, s := range registry().all {
		if fits(s) {
			out = append(out, s.id)
		}
	}
	return out
}

// suitesWith lists the numbers of the suites below TLS 1.3 that have at least one of the wanted classes.
func suitesWith(wanted class) []uint16 {
	return suitesThat(func(s suite) bool { return !s.tls13() && s.classes()&wanted != 0 })
}

// suites13 lists the numbers of the TLS 1.3 suites.
func suites13() []uint16 { return suitesThat(suite.tls13) }

// stranger says that somebody without a secret shared beforehand (PSK, SRP, Kerberos) can negotiate the suite.
func (s suite) stranger() bool {
	switch s.keyExchange() {
	case "rsa", "dh", "dhe", "ecdh", "ecdhe":
		return true
	}
	return false
}

// oldSuites lists the numbers of the suites below TLS 1.3 that a stranger can negotiate, strongest kind first: a server that
// lets the client choose then shows its best side, and its weak ones are asked for afterwards.
func oldSuites() []uint16 {
	strong := suitesThat(func(s suite) bool { return !s.tls13() && s.classes()&classForwardSecret != 0 })
	weak := suitesThat(func(s suite) bool { return !s.tls13() && s.stranger() && s.classes()&classForwardSecret == 0 })
	return append(strong, weak...)
}

// common says that a widely used library has the suite: OpenSSL up to 1.0.2, Schannel, JSSE, NSS or GnuTLS. There are fewer of
// them than the 128 that some old servers take at most in one hello.
func (s suite) common() bool {
	return s.openssl != "" && s.stranger() && !strings.Contains(s.name, "ARIA") && !strings.Contains(s.name, "_CCM") &&
		!strings.Contains(s.name, "_DSS_") && !strings.HasPrefix(s.name, "TLS_ECDH_ECDSA_") && !strings.HasPrefix(s.name, "TLS_ECDH_RSA_")
}

// suitesFor lists all suites that may be chosen in a version, in two hellos' worth: the common ones, strongest first, and the
// rest.
func suitesFor(version uint16) [2][]uint16 {
	if version >= versionTLS13 {
		return [2][]uint16{suites13()}
	}
	possible := func(s suite) bool { return !s.tls13() && (version >= versionTLS12 || !s.only12()) }
	common := suitesThat(func(s suite) bool { return possible(s) && s.common() && s.classes()&classForwardSecret != 0 })
	common = append(common, suitesThat(func(s suite) bool {
		return possible(s) && s.common() && s.classes()&classForwardSecret == 0
	})...)
	return [2][]uint16{common, suitesThat(func(s suite) bool { return possible(s) && !s.common() })}
}
