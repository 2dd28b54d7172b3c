package tls

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
)

// groupX25519 is the one group whose key anybody can make up.
const groupX25519 uint16 = 0x001d

// group is a way to agree on a key, by its number and name in the IANA registry TLS Supported Groups (as of 2026-11-23).
type group struct {
	id   uint16
	name string
	// bits of the curve, for the strength of the exchange; of the field for the finite ones.
	bits uint32
	// pq says that it resists quantum computers.
	pq bool
	// only13 says that it is not for older versions.
	only13 bool
}

// groups known, in the order in which they are offered: those that resist quantum computers first, as browsers do.
var groups = []group{
	{0x11ec, "X25519MLKEM768", 256, true, true},
	{0x11eb, "SecP256r1MLKEM768", 256, true, true},
	{0x11ed, "SecP384r1MLKEM1024", 384, true, true},
	{0x0201, "MLKEM768", 256, true, true},
	{0x0202, "MLKEM1024", 384, true, true},
	{0x0200, "MLKEM512", 128, true, true},
	{0x6399, "X25519Kyber768Draft00", 256, true, true},
	{groupX25519, "x25519", 253, false, false},
	{0x0017, "secp256r1", 256, false, false},
	{0x0018, "secp384r1", 384, false, false},
	{0x0019, "secp521r1", 521, false, false},
	{0x001e, "x448", 448, false, false},
	{0x001a, "brainpoolP256r1", 256, false, false},
	{0x001b, "brainpoolP384r1", 384, false, false},
	{0x001c, "brainpoolP512r1", 512, false, false},
	{0x001f, "brainpoolP256r1tls13", 256, false, true},
	{0x0020, "brainpoolP384r1tls13", 384, false, true},
	{0x0021, "brainpoolP512r1tls13", 512, false, true},
	{0x0029, "curveSM2", 256, false, true},
	{0x0016, "secp256k1", 256, false, false},
	{0x0015, "secp224r1", 224, false, false},
	{0x0014, "secp224k1", 225, false, false},
	{0x0013, "secp192r1", 192, false, false},
	{0x0012, "secp192k1", 192, false, false},
	{0x0011, "secp160r2", 161, false, false},
	{0x0010, "secp160r1", 161, false, false},
	{0x000f, "secp160k1", 161, false, false},
	{0x000e, "sect571r1", 570, false, false},
	{0x000d, "sect571k1", 570, false, false},
	{0x000c, "sect409r1", 409, false, false},
	{0x000b, "sect409k1", 407, false, false},
	{0x000a, "sect283r1", 282, false, false},
	{0x0009, "sect283k1", 281, false, false},
	{0x0008, "sect239k1", 238, false, false},
	{0x0007, "sect233r1", 233, false, false},
	{0x0006, "sect233k1", 232, false, false},
	{0x0005, "sect193r2", 193, false, false},
	{0x0004, "sect193r1", 193, false, false},
	{0x0003, "sect163r2", 163, false, false},
	{0x0002, "sect163r1", 162, false, false},
	{0x0001, "sect163k1", 163, false, false},
	{0x0100, "ffdhe2048", 2048, false, false},
	{0x0101, "ffdhe3072", 3072, false, false},
	{0x0102, "ffdhe4096", 4096, false, false},
	{0x0103, "ffdhe6144", 6144, false, false},
	{0x0104, "ffdhe8192", 8192, false, false},
}

// allGroups lists the numbers of the groups that may be used in a version.
func allGroups(version uint16) []uint16 {
	var out []uint16
	for _, g := range groups {
		switch {
		case version < versionTLS13 && g.only13:
		case version >= versionTLS13 && g.id < 0x0017 && g.id != 0x0016: // RFC 8446 section 4.2.7 took the small ones away
		default:
			out = append(out, g.id)
		}
	}
	return out
}

func groupOf(id uint16) (group, bool) {
	for _, g := range groups {
		if g.id == id {
			return g, true
		}
	}
	return group{}, false
}

func groupName(id uint16) string {
	if g, known := groupOf(id); known {
		return g.name
	}
	return fmt.Sprintf("0x%04x", id)
}

// knownPrimes are published primes for Diffie-Hellman by the SHA-256 of their bytes. Many servers share them, so whoever has
// done the work for one of 1,024 bits or less reads them all (https://weakdh.org, 2015).
var knownPrimes = map[string]string{
	"b52ba6a3026520a6c49d37e4587601801bee500123b3259b6bf03e7cecc3e63d": "RFC 2409 group 1",
	"3f35a3f5f6c4376a744acad409bb22f8d897f949d2311d885adaa890981b67a0": "RFC 2409 group 2",
	"64fcc83ec403930bf18393dbc883ccaa1fbb08ac876f77f7aa99748ca945019b": "RFC 3526 group 5",
	"d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e": "RFC 3526 group 14",
	"48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c": "RFC 3526 group 15",
	"4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33": "RFC 3526 group 16",
	"d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd": "RFC 3526 group 17",
	"39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf": "RFC 3526 group 18",
	"9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966": "RFC 7919 ffdhe2048",
	"0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17": "RFC 7919 ffdhe3072",
	"4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e": "RFC 7919 ffdhe4096",
	"227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7": "RFC 7919 ffdhe6144",
	"770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833": "RFC 7919 ffdhe8192",
	"44c55cfee5c075927cf682da5b681bdecbd5c3eb0784c14f5dce7610f0ef133d": "RFC 5114 group 22",
	"bfe545862ca102ad1eeddb5fbfa5bf855ac4995c56a8b408ce3fe099dce93a9d": "RFC 5114 group 23",
	"0b7835722cb619827610c2549fdda5587421686c4409a13865e76225522ddcc9": "RFC 5114 group 24",
}

// primeName is the published name of a prime, empty for one that is not known.
func primeName(p *big.Int) string {
	sum := sha256.Sum256(p.Bytes())
	return knownPrimes[hex.EncodeToString(sum[:])]
}

// schemes are signature algorithms by their names in the IANA registry TLS SignatureScheme.
var schemes = map[uint16]string{
	0x0403: "ecdsa_secp256r1_sha256", 0x0503: "ecdsa_secp384r1_sha384", 0x0603: "ecdsa_secp521r1_sha512", 0x0807: "ed25519", 0x0808: "ed448",
	0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512",
	0x0809: "rsa_pss_pss_sha256", 0x080a: "rsa_pss_pss_sha384", 0x080b: "rsa_pss_pss_sha512",
	0x0401: "rsa_pkcs1_sha256", 0x0501: "rsa_pkcs1_sha384", 0x0601: "rsa_pkcs1_sha512",
	0x0303: "ecdsa_sha224", 0x0301: "rsa_pkcs1_sha224", 0x0203: "ecdsa_sha1", 0x0201: "rsa_pkcs1_sha1",
	0x0402: "dsa_sha256", 0x0202: "dsa_sha1", 0x0101: "rsa_pkcs1_md5", 0x0103: "ecdsa_md5",
}

func schemeName(id uint16) string {
	if name, known := schemes[id]; known {
		return name
	}
	return fmt.Sprintf("0x%04x", id)
}
