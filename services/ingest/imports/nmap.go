package imports

import (
	"context"
	"encoding/xml"
	"errors"
	"strconv"
	"strings"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

// nmapHost is the host of a report of nmap that is being read (nmap.org/book/output-formats-xml-output.html, docs/nmap.dtd). Its
// ports are handed over one by one: a host may have 65,535 of them.
type nmapHost struct {
	line          int
	up            bool
	address, name string
	seen          time.Time
	// ports by transport, and which of them the report names one by one or in its lists: what it says nothing about is not taken as closed.
	ports map[modelv1.Transport]*modelv1.PortsFact
	named map[modelv1.Transport]string
}

// errPorts ends the reading: a host that names every port twice is no host.
var errPorts = errors.New("one of its hosts has more ports than there are")

// names notes ports that the report says something about.
func (h *nmapHost) names(t modelv1.Transport, ports string) {
	if h.named == nil {
		h.named = map[modelv1.Transport]string{}
	}
	// One that is too long to be read is not made longer.
	if before := h.named[t]; before == "" {
		h.named[t] = ports
	} else if len(before) <= portlist.MaxTextBytes {
		h.named[t] = before + "," + ports
	}
}

// listed reads the ports of which nmap says the state together, "1-21,24-79".
func (h *nmapHost) listed(start xml.StartElement) {
	if t := transportOf(attribute(start, "proto")); t != modelv1.Transport_TRANSPORT_UNSPECIFIED && attribute(start, "ports") != "" {
		h.names(t, attribute(start, "ports"))
	}
}

// covered are the ports that the report names, as text; empty where they are too many to write down or cannot be read.
func (h *nmapHost) covered(t modelv1.Transport) string {
	set, err := portlist.Parse(h.named[t])
	if err != nil || set.Len() == 0 {
		return ""
	}
	return set.String()
}

type nmapPort struct {
	Protocol string `xml:"protocol,attr"`
	Port     uint32 `xml:"portid,attr"`
	State    struct {
		State string `xml:"state,attr"`
	} `xml:"state"`
	Service struct {
		Name    string   `xml:"name,attr"`
		Product string   `xml:"product,attr"`
		Version string   `xml:"version,attr"`
		Extra   string   `xml:"extrainfo,attr"`
		Tunnel  string   `xml:"tunnel,attr"`
		Method  string   `xml:"method,attr"`
		CPE     []string `xml:"cpe"`
	} `xml:"service"`
	Scripts []struct {
		ID     string `xml:"id,attr"`
		Output string `xml:"output,attr"`
	} `xml:"script"`
}

// parseNmap reads nmap's XML. A report without its end is of a scan that was broken off: what it says is taken, what it does not
// say is no proof of anything.
func parseNmap(ctx context.Context, r *report) error {
	finished := false
	var began time.Time
	var h *nmapHost
	whole, err := r.elements(ctx, "nmaprun", map[string]element{
		"nmaprun": {begin: func(_ int, start xml.StartElement, _ func(any) error) error {
			began = unix(attribute(start, "start"))
			return nil
		}},
		"host": {
			begin: func(line int, start xml.StartElement, _ func(any) error) error {
				h = &nmapHost{line: line, up: true, seen: began}
				if end := unix(attribute(start, "endtime")); !end.IsZero() {
					h.seen = end
				}
				return nil
			},
			end: func() error {
				defer func() { h = nil }()
				return r.nmapHost(h)
			},
		},
		"status":       {begin: ofHost(&h, func(h *nmapHost, start xml.StartElement) { h.up = attribute(start, "state") != "down" })},
		"address":      {begin: ofHost(&h, (*nmapHost).at)},
		"hostname":     {begin: ofHost(&h, (*nmapHost).called)},
		"extraports":   {begin: ofHost(&h, (*nmapHost).extra)},
		"extrareasons": {begin: ofHost(&h, (*nmapHost).listed)},
		"port": {begin: func(line int, _ xml.StartElement, decode func(any) error) error {
			var p nmapPort
			if err := decode(&p); err != nil || h == nil {
				return err
			}
			return r.nmapPort(line, h, &p)
		}},
		"finished": {begin: func(_ int, start xml.StartElement, _ func(any) error) error {
			finished = finished || attribute(start, "exit") == "success"
			return nil
		}},
	})
	if err != nil && !errors.Is(err, errCutOff) {
		return err
	}
	if !whole || !finished {
		return r.problem(r.source.lineAtEnd(), "the report ends early: its scan was broken off, so what it does not say is not taken as absent")
	}
	return nil
}

// ofHost is what an element says about the host it stands in.
func ofHost(h **nmapHost, f func(*nmapHost, xml.StartElement)) func(int, xml.StartElement, func(any) error) error {
	return func(_ int, start xml.StartElement, _ func(any) error) error {
		if *h != nil {
			f(*h, start)
		}
		return nil
	}
}

func (h *nmapHost) at(start xml.StartElement) {
	if h.address == "" && attribute(start, "addrtype") != "mac" {
		h.address = attribute(start, "addr")
	}
}

// called takes what the user asked for rather than what the reverse name is.
func (h *nmapHost) called(start xml.StartElement) {
	if h.name == "" || attribute(start, "type") == "user" {
		h.name = attribute(start, "name")
	}
}

// extra counts ports that nmap does not list one by one. It does not say their transport: TCP unless only UDP was scanned.
func (h *nmapHost) extra(start xml.StartElement) {
	n, err := strconv.ParseUint(attribute(start, "count"), 10, 17)
	if err != nil {
		return
	}
	f := h.portsOf(modelv1.Transport_TRANSPORT_TCP)
	f.Scanned += uint32(n)
	switch attribute(start, "state") {
	case "closed":
		f.Closed += uint32(n)
	case "filtered":
		f.Filtered += uint32(n)
	}
}

func (h *nmapHost) portsOf(t modelv1.Transport) *modelv1.PortsFact {
	if h.ports == nil {
		h.ports = map[modelv1.Transport]*modelv1.PortsFact{}
	}
	if h.ports[t] == nil {
		h.ports[t] = &modelv1.PortsFact{Transport: t}
	}
	return h.ports[t]
}

// nmapPort counts a port, and hands over the service of an open one.
func (r *report) nmapPort(line int, h *nmapHost, p *nmapPort) error {
	transport := transportOf(p.Protocol)
	if transport == modelv1.Transport_TRANSPORT_UNSPECIFIED || !h.up {
		return nil
	}
	if p.Port == 0 || p.Port > maxPort {
		return r.problem(line, "port "+strconv.Itoa(int(p.Port))+" cannot be")
	}
	f := h.portsOf(transport)
	if f.Scanned++; f.Scanned > 2*maxPort {
		return errPorts
	}
	h.names(transport, strconv.Itoa(int(p.Port)))
	switch p.State.State {
	case "closed":
		f.Closed++
	case "filtered":
		f.Filtered++
	case "open":
		f.Open = append(f.Open, p.Port)
		if h.address == "" {
			return r.problem(line, "port stands before the address of its host")
		}
		return r.record(Record{Line: line, Asset: h.address, Port: p.Port, Transport: transport, Seen: h.seen, Service: nmapService(p, h.address, transport)})
	}
	return nil
}

// maxPort is the last port (RFC 9293 section 3.1: 16 bits).
const maxPort = 65535

// nmapHost hands over what a host has in all: the ports by transport, and its name, which is an asset of its own.
func (r *report) nmapHost(h *nmapHost) error {
	if !h.up {
		return nil
	}
	if h.address == "" {
		return r.problem(h.line, "host has no address")
	}
	for _, transport := range []modelv1.Transport{modelv1.Transport_TRANSPORT_TCP, modelv1.Transport_TRANSPORT_UDP} {
		f := h.ports[transport]
		if f == nil {
			continue
		}
		f.Address, f.Ports = h.address, h.covered(transport)
		if err := r.record(Record{Line: h.line, Asset: h.address, Transport: transport, Seen: h.seen, Ports: f}); err != nil {
			return err
		}
	}
	if h.name == "" {
		return nil
	}
	return r.record(Record{Line: h.line, Asset: h.name, Seen: h.seen})
}

func transportOf(protocol string) modelv1.Transport {
	switch protocol {
	case "tcp":
		return modelv1.Transport_TRANSPORT_TCP
	case "udp":
		return modelv1.Transport_TRANSPORT_UDP
	}
	return modelv1.Transport_TRANSPORT_UNSPECIFIED
}

// nmapService is a service as nmap saw it. A name that nmap only looked up in its table of ports (method "table") is not known.
func nmapService(p *nmapPort, address string, transport modelv1.Transport) *modelv1.ServiceFact {
	s := &modelv1.ServiceFact{
		Address: address, Port: p.Port, Transport: transport, Name: "unknown", Product: safe(p.Service.Product, maxText),
		Version: safe(p.Service.Version, maxText), Tls: p.Service.Tunnel == "ssl",
	}
	if p.Service.Method == "probed" && p.Service.Name != "" {
		s.Name = strings.ToLower(safe(p.Service.Name, maxText))
	}
	if p.Service.Extra != "" {
		s.Details = map[string]string{"nmap.extra": safe(p.Service.Extra, maxText)}
	}
	for _, c := range p.Service.CPE {
		if len(s.Cpe) < maxList {
			s.Cpe = append(s.Cpe, safe(c, maxText))
		}
	}
	for _, script := range p.Scripts {
		if script.ID == "banner" {
			s.Banner = safe(script.Output, maxLongText)
		}
	}
	return s
}

func unix(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return past(time.Unix(n, 0))
}
