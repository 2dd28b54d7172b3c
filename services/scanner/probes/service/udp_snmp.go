package service

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Objects that are read: the system group (RFC 3418) and the version of Net-SNMP (UCD-SNMP-MIB), which few agents show.
const (
	oidDescription = "1.3.6.1.2.1.1.1.0"
	oidObject      = "1.3.6.1.2.1.1.2.0"
	oidName        = "1.3.6.1.2.1.1.5.0"
	oidUCDVersion  = "1.3.6.1.4.1.2021.100.2.0"
)

// Versions of SNMP as they stand in messages (RFC 1157, RFC 1901, RFC 3412).
const (
	snmpV1  = 0
	snmpV2c = 1
	snmpV3  = 3
)

const snmpRequest = 0x7269 // the id of our requests

// community is the word that agents come with; it is in the standards' examples and no secret of anybody.
const community = "public"

// snmp asks the engine for its id, which version 3 gives to everybody (RFC 3414 section 4), and for the system group in the
// name of the community "public". That it may be read is the proof; no other community is tried and nothing is set.
func snmp(d *datagrams) *modelv1.ServiceFact {
	var versions []string
	engine := snmpEngine(d)
	objects := snmpGet(d, snmpV2c, oidDescription, oidObject, oidName, oidUCDVersion)
	if objects != nil {
		versions = append(versions, "2c")
	}
	if first := snmpGet(d, snmpV1, oidDescription, oidObject, oidName); first != nil {
		versions = append([]string{"1"}, versions...)
		if objects == nil {
			objects = first
		}
	}
	if engine != nil {
		versions = append(versions, "3")
	}
	if len(versions) == 0 {
		return nil
	}
	fact := named("snmp")
	detail(fact, "snmp.versions", strings.Join(versions, ","))
	detail(fact, "snmp.engine_id", hex.EncodeToString(engine))
	description := string(objects[oidDescription])
	detail(fact, "snmp.description", description)
	detail(fact, "snmp.name", string(objects[oidName]))
	object := parseOID(objects[oidObject])
	detail(fact, "snmp.object", object)
	snmpProduct(fact, description, object, engine, string(objects[oidUCDVersion]))
	if objects != nil {
		fact.Banner = safe(description, maxBanner)
		proven(fact, "GET of the system group with community public: "+description)
	}
	return fact
}

// netSNMP is the enterprise number of the Net-SNMP project (https://www.iana.org/assignments/enterprise-numbers/).
const netSNMP = 8072

func snmpProduct(fact *modelv1.ServiceFact, description, object string, engine []byte, version string) {
	lower := strings.ToLower(description)
	// The first bit of an engine id says that an enterprise's number follows (RFC 3411 section 5).
	isNetSNMP := len(engine) >= 5 && binary.BigEndian.Uint32(engine) == 0x80000000|netSNMP || strings.HasPrefix(object, "1.3.6.1.4.1.8072.")
	switch {
	case strings.HasPrefix(lower, "cisco ios software"):
		setProduct(fact, "Cisco IOS", "cisco", "ios", versionAfter(lower, ", version "))
	case strings.HasPrefix(lower, "routeros"):
		setProduct(fact, "MikroTik RouterOS", "mikrotik", "routeros", "")
	case isNetSNMP:
		setProduct(fact, "Net-SNMP", "net-snmp", "net-snmp", versionAfter("v"+strings.ToLower(version), "v"))
	}
	switch words := strings.Fields(description); {
	case len(words) >= 3 && (words[0] == "Linux" || words[0] == "FreeBSD" || words[0] == "Darwin"):
		setSystem(fact, words[0]+" "+words[2]) // as uname prints it: system, name of the host, release
	case strings.Contains(description, "Software: Windows"):
		_, after, _ := strings.Cut(description, "Software: ")
		setSystem(fact, after)
	default:
		setSystem(fact, description)
	}
}

// snmpGet reads objects, nil where the community or the version is not taken.
func snmpGet(d *datagrams, version uint32, oids ...string) map[string][]byte {
	var list [][]byte
	for _, oid := range oids {
		list = append(list, berSequence(tagSequence, berOID(oid), []byte{tagNull, 0}))
	}
	pdu := berSequence(0xa0, berInteger(snmpRequest), berInteger(0), berInteger(0), berSequence(tagSequence, list...))
	var objects map[string][]byte
	question := berSequence(tagSequence, berInteger(version), berText(tagOctets, community), pdu)
	if _, err := d.ask(question, func(answer []byte) bool {
		var err error
		objects, err = parseSNMP(answer)
		return err == nil
	}); err != nil {
		return nil
	}
	return objects
}

// maxObjects bounds what is read of one answer.
const maxObjects = 16

// parseSNMP reads a response of version 1 or 2c: the values of its objects by their identifiers.
func parseSNMP(message []byte) (map[string][]byte, error) {
	outer := &elements{message}
	body, ok := outer.into(tagSequence)
	if !ok || !body.skip(2) {
		return nil, errNotIt
	}
	pdu, ok := body.into(0xa2) // GetResponse
	if !ok {
		return nil, errNotIt
	}
	_, id, _ := pdu.next()
	_, status, ok := pdu.next()
	if !ok || len(id) != 2 || binary.BigEndian.Uint16(id) != snmpRequest || len(status) != 1 || status[0] != 0 || !pdu.skip(1) {
		return nil, errNotIt
	}
	list, ok := pdu.into(tagSequence)
	if !ok {
		return nil, errNotIt
	}
	objects := make(map[string][]byte)
	for len(objects) < maxObjects {
		pair, ok := list.into(tagSequence)
		if !ok {
			break
		}
		_, oid, _ := pair.next()
		tag, value, ok := pair.next()
		if ok && (tag == tagOctets || tag == tagOID) { // others say that there is no such object
			objects[parseOID(oid)] = value
		}
	}
	if len(objects) == 0 {
		return nil, errNotIt
	}
	return objects, nil
}

// snmpEngine discovers the engine (RFC 3414 section 4): its id, nil where version 3 is not spoken.
func snmpEngine(d *datagrams) []byte {
	header := berSequence(tagSequence, berInteger(snmpRequest), berInteger(65507), []byte{tagOctets, 1, 4}, berInteger(3)) // reportable; user-based security
	security := berSequence(tagSequence, berText(tagOctets, ""), berInteger(0), berInteger(0), berText(tagOctets, ""), berText(tagOctets, ""), berText(tagOctets, ""))
	scoped := berSequence(tagSequence, berText(tagOctets, ""), berText(tagOctets, ""),
		berSequence(0xa0, berInteger(snmpRequest), berInteger(0), berInteger(0), berSequence(tagSequence)))
	question := berSequence(tagSequence, berInteger(snmpV3), header, berText(tagOctets, string(security)), scoped)
	var engine []byte
	if _, err := d.ask(question, func(answer []byte) bool {
		var err error
		engine, err = parseEngine(answer)
		return err == nil
	}); err != nil {
		return nil
	}
	return engine
}

// parseEngine reads the engine id out of a report: 5 to 32 bytes (RFC 3411 section 5).
func parseEngine(message []byte) ([]byte, error) {
	outer := &elements{message}
	body, ok := outer.into(tagSequence)
	if !ok {
		return nil, errNotIt
	}
	_, version, ok := body.next()
	if !ok || len(version) != 1 || version[0] != snmpV3 || !body.skip(1) {
		return nil, errNotIt
	}
	wrapped, ok := body.into(tagOctets)
	if !ok {
		return nil, errNotIt
	}
	security, ok := wrapped.into(tagSequence)
	if !ok {
		return nil, errNotIt
	}
	tag, engine, ok := security.next()
	if !ok || tag != tagOctets || len(engine) < 5 || len(engine) > 32 {
		return nil, errNotIt
	}
	return engine, nil
}
