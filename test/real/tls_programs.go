//go:build realservers

package real

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// offer is one cipher suite in one version, as "TLS1.2 c02f".
type offer string

func offerOf(version string, id uint64) offer { return offer(fmt.Sprintf("%s %04x", version, id)) }

// offers is what a program says that a server accepts.
type offers map[offer]bool

// program is another scanner: what it says of an endpoint.
type program struct {
	name string
	ask  func(t *testing.T, e endpoint) offers
	// starttls are the names of the upgrades it knows, by our names.
	starttls map[string]string
}

var programs = []program{
	{"nmap", nmapOffers, map[string]string{"smtp": "", "imap": "", "pop3": "", "ftp": "", "postgresql": "", "mysql": ""}},
	{"sslscan", sslscanOffers, sslscanUpgrades},
	{"testssl", testsslOffers, testsslUpgrades},
}

var (
	sslscanUpgrades = map[string]string{
		"smtp": "--starttls-smtp", "imap": "--starttls-imap", "pop3": "--starttls-pop3", "ftp": "--starttls-ftp",
		"postgresql": "--starttls-psql", "mysql": "--starttls-mysql",
	}
	testsslUpgrades = map[string]string{"smtp": "smtp", "imap": "imap", "pop3": "pop3", "ftp": "ftp", "postgresql": "postgres", "mysql": "mysql"}
)

// theirVersions are our words by those of the programs.
var theirVersions = map[string]string{
	"SSLv2": "SSLv2", "SSLv3": "SSLv3", "TLSv1.0": "TLS1.0", "TLSv1.1": "TLS1.1", "TLSv1.2": "TLS1.2", "TLSv1.3": "TLS1.3",
}

// sslscanOffers runs sslscan.
func sslscanOffers(t *testing.T, e endpoint) offers {
	t.Helper()
	args := []string{"--xml=-", "--no-colour", "--no-groups", "--no-check-certificate", "--no-heartbleed", "--no-renegotiation", "--no-compression"}
	if e.starttls != "" {
		args = append(args, sslscanUpgrades[e.starttls])
	}
	var doc struct {
		Ciphers []struct {
			Version string `xml:"sslversion,attr"`
			ID      string `xml:"id,attr"`
		} `xml:"ssltest>cipher"`
	}
	unmarshalXML(t, Do(t, "sslscan", append(args, net.JoinHostPort(e.address, strconv.Itoa(e.port)))...), &doc)
	out := offers{}
	for _, c := range doc.Ciphers {
		id, err := strconv.ParseUint(c.ID, 0, 32)
		if err != nil {
			t.Fatalf("sslscan: id %q", c.ID)
		}
		out[offerOf(theirVersions[c.Version], id)] = true
	}
	return out
}

// nmapTable is a table of nmap's script output.
type nmapTable struct {
	Key    string      `xml:"key,attr"`
	Tables []nmapTable `xml:"table"`
	Elems  []struct {
		Key  string `xml:"key,attr"`
		Text string `xml:",chardata"`
	} `xml:"elem"`
}

// nmapOffers runs nmap with ssl-enum-ciphers, whose names are those of IANA; numbers come from ours, and a name that we do not
// have stays a name.
func nmapOffers(t *testing.T, e endpoint) offers {
	t.Helper()
	text := Do(t, "nmap", "-Pn", "-n", "-oX", "-", "-p", strconv.Itoa(e.port), "--script", "+ssl-enum-ciphers", e.address)
	var doc struct {
		Tables []nmapTable `xml:"host>ports>port>script>table"`
	}
	unmarshalXML(t, text, &doc)
	out := offers{}
	for _, version := range doc.Tables {
		for _, list := range version.Tables {
			for _, cipher := range list.Tables {
				for _, elem := range cipher.Elems {
					if list.Key != "ciphers" || elem.Key != "name" {
						continue
					}
					// nmap writes the suites of TLS 1.3 as if they named a key exchange.
					name := strings.Replace(elem.Text, "TLS_AKE_WITH_", "TLS_", 1)
					id, known := e.numbers[name]
					if !known {
						out[offer(theirVersions[version.Key]+" "+name)] = true
						continue
					}
					out[offerOf(theirVersions[version.Key], uint64(id))] = true
				}
			}
		}
	}
	return out
}

var testsslCipher = regexp.MustCompile(`^cipher-(ssl|tls)([0-9](?:_[0-9])?)_x([0-9a-f]+)$`)

// testsslOffers runs testssl.sh over every cipher of each version.
func testsslOffers(t *testing.T, e endpoint) offers {
	t.Helper()
	file := filepath.Join(t.TempDir(), "testssl.json")
	args := []string{"--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--jsonfile", file, "-E"}
	if e.starttls != "" {
		args = append(args, "-t", testsslUpgrades[e.starttls])
	}
	Do(t, "testssl", append(args, net.JoinHostPort(e.address, strconv.Itoa(e.port)))...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var entries []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		t.Fatalf("testssl: %v", err)
	}
	words := map[string]string{"ssl2": "SSLv2", "ssl3": "SSLv3", "tls1": "TLS1.0", "tls1_1": "TLS1.1", "tls1_2": "TLS1.2", "tls1_3": "TLS1.3"}
	out := offers{}
	for _, entry := range entries {
		m := testsslCipher.FindStringSubmatch(entry.ID)
		if m == nil {
			continue
		}
		id, err := strconv.ParseUint(m[3], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		out[offerOf(words[m[1]+m[2]], id)] = true
	}
	return out
}

func unmarshalXML(t *testing.T, text string, into any) {
	t.Helper()
	if at := strings.Index(text, "<?xml"); at > 0 {
		text = text[at:]
	}
	if err := xml.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
}
