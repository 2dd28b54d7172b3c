//go:build realservers

package real

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// nmapPort is what nmap says of one port.
type nmapPort struct {
	Protocol string `xml:"protocol,attr"`
	Number   int    `xml:"portid,attr"`
	State    struct {
		State string `xml:"state,attr"`
	} `xml:"state"`
	Service struct {
		Name    string `xml:"name,attr"`
		Product string `xml:"product,attr"`
		Version string `xml:"version,attr"`
		Tunnel  string `xml:"tunnel,attr"`
		Method  string `xml:"method,attr"`
	} `xml:"service"`
}

// names are nmap's words for what we call otherwise.
var names = map[string]string{"domain": "dns", "netbios-ssn": "smb", "microsoft-ds": "smb", "smtps": "smtp"}

// difference is one that has its reason: field of a port of a server, what nmap says there and why we do not.
type difference struct {
	server, port, field, theirs, reason string
}

const (
	revisionApart = "nmap puts the revision of Debian's package behind the version; we keep it apart, as package_version"
	noAlert       = "nmap's TLS hellos are too old for Dovecot (its log: version too low, no shared cipher), which hangs up without an alert; nmap falls back to its list of ports"
	mosquittoName = "nmap prints the message of the topic with the version as the name of the service; product and version are the same"
	wrongSamba    = "nmap prints the release of Samba since which the answer has its form, for every later one: it is wrong here, and the protocol does not tell"
)

var differences = []difference{
	{"openssh", "22/tcp", "version", "9.2p1 Debian 2+deb12u*", revisionApart},
	{"bind", "53/tcp", "version", "9.18.*-1~deb12u*", revisionApart},
	{"bind", "53/udp", "version", "9.18.*-1~deb12u*", revisionApart},
	{"mariadb", "3306/tcp", "version", "5.5.5-10.11.*-MariaDB-0+deb12u*", revisionApart + "; and it takes the 5.5.5 that MariaDB says for the sake of old replicas"},
	{"postgresql", "5432/tcp", "version", "9.6.0 or later", "nmap infers a range from line numbers of the source in an error message; we tell what the server says, which is nothing"},
	{"dovecot", "993/tcp", "name", "imaps", noAlert},
	{"dovecot", "993/tcp", "tls", "false", noAlert},
	{"dovecot", "995/tcp", "name", "pop3s", noAlert},
	{"dovecot", "995/tcp", "tls", "false", noAlert},
	{"redis", "6380/tcp", "version", "", "nmap reads the version with a script that does not speak TLS"},
	{"mosquitto", "1883/tcp", "name", "mosquitto version 2.0.*", mosquittoName},
	{"mosquitto", "1883/tcp", "version", "", mosquittoName},
	{"mosquitto", "8883/tcp", "name", "mosquitto version 2.0.*", mosquittoName},
	{"mosquitto", "8883/tcp", "version", "", mosquittoName},
	{"memcached", "11211/udp", "name", "memcache", "another word of nmap for memcached over UDP, of which it reads no version"},
	{"memcached", "11211/udp", "version", "", "nmap reads no version over UDP; ours is the package's"},
	{"samba", "139/tcp", "version", "4.6.2", wrongSamba},
	{"samba", "445/tcp", "version", "4.6.2", wrongSamba},
}

// explained says whether a difference has its reason, and marks it as met.
func explained(met []bool, s *Server, p Port, field, theirs string) bool {
	for i, d := range differences {
		if d.server == s.Kind && d.port == p.String() && d.field == field && like(d.theirs, theirs) {
			met[i] = true
			return true
		}
	}
	return false
}

// like compares with a pattern in which "*" stands for anything.
func like(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(text, part)
		}
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return text == ""
}

// nmapOf scans the ports of a server with nmap.
func nmapOf(t *testing.T, s *Server) []nmapPort {
	t.Helper()
	var tcp, udp []string
	for _, p := range s.Ports {
		if number := strconv.Itoa(p.Number); p.UDP {
			udp = append(udp, number)
		} else {
			tcp = append(tcp, number)
		}
	}
	args := []string{"-Pn", "-n", "-sV", "-oX", "-"}
	var ports []string
	if len(tcp) > 0 {
		args, ports = append(args, "-sT"), append(ports, "T:"+strings.Join(tcp, ","))
	}
	if len(udp) > 0 {
		args, ports = append(args, "-sU"), append(ports, "U:"+strings.Join(udp, ","))
	}
	text := Do(t, "nmap", append(args, "-p", strings.Join(ports, ","), s.Address)...)
	var run struct {
		Ports []nmapPort `xml:"host>ports>port"`
	}
	if err := xml.Unmarshal([]byte(text[strings.Index(text, "<?xml"):]), &run); err != nil {
		t.Fatal(err)
	}
	return run.Ports
}

// TestServicesAgainstNmap: the same ports, names, TLS and versions as nmap -sV, and no difference without a reason; nor a reason
// without its difference.
func TestServicesAgainstNmap(t *testing.T) {
	var mu sync.Mutex
	met := make([]bool, len(differences))
	t.Run("servers", func(t *testing.T) {
		for _, s := range Servers(t) {
			t.Run(s.Kind, func(t *testing.T) {
				t.Parallel() // nmap waits, most of the time
				theirs := nmapOf(t, s)
				if len(theirs) != len(s.Ports) {
					t.Errorf("nmap sees %d ports of %d", len(theirs), len(s.Ports))
				}
				mu.Lock()
				defer mu.Unlock()
				for _, their := range theirs {
					i := slices.IndexFunc(s.Ports, func(p Port) bool { return p.String() == fmt.Sprintf("%d/%s", their.Number, their.Protocol) })
					if i < 0 || their.State.State != "open" {
						t.Errorf("nmap calls %d/%s %s", their.Number, their.Protocol, their.State.State)
						continue
					}
					compareWithNmap(t, met, s, s.Ports[i], serviceAt(t, s, s.Ports[i]), their)
				}
			})
		}
	})
	for i, d := range differences {
		if !met[i] {
			t.Errorf("%s %s: %s is no longer different: take the line %q out", d.server, d.port, d.field, d.theirs)
		}
	}
}

func compareWithNmap(t *testing.T, met []bool, s *Server, p Port, fact *modelv1.ServiceFact, their nmapPort) {
	t.Helper()
	name := their.Service.Name
	if ours := names[name]; ours != "" {
		name = ours
	}
	name = strings.TrimPrefix(name, "ssl/")
	for _, field := range []struct{ name, ours, theirs string }{
		{"name", fact.GetName(), name},
		{"tls", strconv.FormatBool(fact.GetTls()), strconv.FormatBool(their.Service.Tunnel == "ssl")},
		{"version", fact.GetVersion(), their.Service.Version},
	} {
		if field.ours == field.theirs || explained(met, s, p, field.name, field.theirs) {
			continue
		}
		t.Errorf("%s %v: %s: we say %q, nmap %q (%s %s)", s.Kind, p, field.name, field.ours, field.theirs, their.Service.Product, their.Service.Version)
	}
	t.Logf("%-10s %-9v ours %s %s %s | nmap %s %s %s", s.Kind, p, fact.GetName(), fact.GetProduct(), fact.GetVersion(), their.Service.Name, their.Service.Product, their.Service.Version)
}
