package service

import (
	"encoding/binary"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// zookeeper opens a session and asks for the names below "/", as any client does: that they may be read is the proof. The
// version is asked for by the four-letter word srvr, which newer servers answer unless told otherwise.
func zookeeper(t *talk) *modelv1.ServiceFact {
	if t.send(zkFrame(zkConnect())) != nil {
		return nil
	}
	answer, err := t.zkReply()
	// Protocol version 0, timeout, session id, password of 16 bytes, and a flag in newer ones.
	if err != nil || len(answer) < 36 || len(answer) > 37 || binary.BigEndian.Uint32(answer) != 0 || binary.BigEndian.Uint32(answer[16:]) != 16 {
		return nil
	}
	fact := named("zookeeper")
	setProduct(fact, "Apache ZooKeeper", "apache", "zookeeper", zkVersion(t))
	if t.send(zkFrame(zkChildren())) == nil {
		if answer, err := t.zkReply(); err == nil && len(answer) >= 20 && binary.BigEndian.Uint32(answer) == 1 && binary.BigEndian.Uint32(answer[12:]) == 0 {
			proven(fact, "getChildren /: "+strconv.FormatUint(uint64(binary.BigEndian.Uint32(answer[16:])), 10)+" names")
		}
	}
	_ = t.send(zkFrame([]byte{0, 0, 0, 2, 0xff, 0xff, 0xff, 0xf5})) // closeSession is -11
	return fact
}

func zkFrame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func zkConnect() []byte {
	body := make([]byte, 12)                            // protocol version, last zxid seen
	body = binary.BigEndian.AppendUint32(body, 4000)    // session timeout in milliseconds
	body = binary.BigEndian.AppendUint64(body, 0)       // no session yet
	body = binary.BigEndian.AppendUint32(body, 16)      // password
	return append(append(body, make([]byte, 16)...), 0) // and not read-only
}

func zkChildren() []byte {
	return []byte{0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 1, '/', 0} // xid 1, getChildren, "/", no watch
}

func (t *talk) zkReply() ([]byte, error) {
	head, err := t.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > 32<<10 {
		return nil, errNotIt
	}
	return t.take(int(size))
}

func zkVersion(t *talk) string {
	other, err := t.another()
	if err != nil {
		return ""
	}
	defer t.done(other)
	if other.send([]byte("srvr")) != nil {
		return ""
	}
	text, err := other.text()
	if err != nil {
		return ""
	}
	version, found := strings.CutPrefix(text, "Zookeeper version: ")
	if !found {
		return ""
	}
	version, _, _ = strings.Cut(version, "-")
	return version
}

// cassandra asks for the options of the native protocol, version 4, then starts up to hear whether it wants a password
// (native_protocol_v4.spec).
func cassandra(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0x04, 0, 0, 0, 0x05, 0, 0, 0, 0}) != nil {
		return nil
	}
	opcode, body, err := t.cqlFrame()
	if err != nil || opcode != 0x06 && opcode != 0x00 {
		return nil
	}
	fact := named("cassandra")
	setProduct(fact, "Apache Cassandra", "apache", "cassandra", "")
	if opcode == 0x00 {
		return fact // an error in its own words
	}
	options, err := parseStringMultimap(body)
	if err != nil {
		return nil
	}
	detail(fact, "cassandra.cql_version", strings.Join(options["CQL_VERSION"], ","))
	if len(options["CQL_VERSION"]) == 0 {
		return fact
	}
	startup := []byte("\x00\x01\x00\x0bCQL_VERSION")
	version := safe(options["CQL_VERSION"][0], 16)
	startup = append(binary.BigEndian.AppendUint16(startup, uint16(len(version))), version...)
	frame := append(binary.BigEndian.AppendUint32([]byte{0x04, 0, 0, 1, 0x01}, uint32(len(startup))), startup...)
	if t.send(frame) != nil {
		return fact
	}
	switch opcode, _, err := t.cqlFrame(); {
	case err != nil:
	case opcode == 0x02:
		detail(fact, "cassandra.authentication", "none")
		cassandraVersion(t, fact)
	case opcode == 0x03:
		detail(fact, "cassandra.authentication", "required")
	}
	return fact
}

// cassandraVersion reads the version from the table that every node keeps about itself: that it may be read is the proof.
func cassandraVersion(t *talk, fact *modelv1.ServiceFact) {
	const query = "SELECT release_version FROM system.local"
	body := append(binary.BigEndian.AppendUint32(nil, uint32(len(query))), query...)
	body = append(body, 0, 1, 0) // consistency ONE, no flags
	if t.send(append(binary.BigEndian.AppendUint32([]byte{0x04, 0, 0, 2, 0x07}, uint32(len(body))), body...)) != nil {
		return
	}
	opcode, rows, err := t.cqlFrame()
	if err != nil || opcode != 0x08 {
		return
	}
	version, err := parseOneValue(rows)
	if err != nil {
		return
	}
	setProduct(fact, "Apache Cassandra", "apache", "cassandra", version)
	proven(fact, query+": "+version)
}

// parseOneValue reads a result of one column and one row (native_protocol_v4.spec, section 4.2.5.2): kind, flags, columns, keyspace
// and table, name and type of the column, number of rows, the value behind its length.
func parseOneValue(body []byte) (string, error) {
	if len(body) < 12 || binary.BigEndian.Uint32(body) != 2 || binary.BigEndian.Uint32(body[4:]) != 1 || binary.BigEndian.Uint32(body[8:]) != 1 {
		return "", errNotIt
	}
	rest := body[12:]
	for range 3 { // keyspace, table, column
		if len(rest) < 2 || int(binary.BigEndian.Uint16(rest)) > len(rest)-2 {
			return "", errNotIt
		}
		rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
	}
	if len(rest) < 10 || binary.BigEndian.Uint32(rest[2:]) < 1 {
		return "", errNotIt
	}
	size := binary.BigEndian.Uint32(rest[6:])
	if uint64(size) > uint64(len(rest)-10) {
		return "", errNotIt
	}
	return string(rest[10 : 10+size]), nil
}

// cqlFrame reads one frame: version with the direction bit, flags, stream, opcode, length.
func (t *talk) cqlFrame() (opcode byte, body []byte, err error) {
	head, err := t.take(9)
	if err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[5:])
	if head[0] < 0x81 || head[0] > 0x86 || size > 32<<10 {
		return 0, nil, errNotIt
	}
	body, err = t.take(int(size))
	return head[4], body, err
}

// parseStringMultimap reads [string multimap] of the CQL protocol.
func parseStringMultimap(data []byte) (map[string][]string, error) {
	shortText := func() (string, bool) {
		if len(data) < 2 || int(binary.BigEndian.Uint16(data)) > len(data)-2 {
			return "", false
		}
		size := int(binary.BigEndian.Uint16(data))
		text := string(data[2 : 2+size])
		data = data[2+size:]
		return text, true
	}
	count := func() int {
		if len(data) < 2 {
			return 0
		}
		n := int(binary.BigEndian.Uint16(data))
		data = data[2:]
		return n
	}
	options := make(map[string][]string)
	for range count() {
		key, ok := shortText()
		if !ok {
			return nil, errNotIt
		}
		for range count() {
			value, ok := shortText()
			if !ok {
				return nil, errNotIt
			}
			options[key] = append(options[key], value)
		}
	}
	return options, nil
}

// bolt shakes hands with Neo4j: a magic number and four versions, answered by the one it chose (Bolt handshake, v1).
func bolt(t *talk) *modelv1.ServiceFact {
	if t.send([]byte{0x60, 0x60, 0xb0, 0x17, 0, 4, 4, 5, 0, 2, 4, 4, 0, 0, 0, 4, 0, 0, 0, 3}) != nil {
		return nil
	}
	chosen, err := t.take(4)
	if err != nil || chosen[0] != 0 || chosen[1] != 0 || chosen[3] < 3 || chosen[3] > 5 || len(t.rest()) > 0 {
		return nil
	}
	fact := named("neo4j")
	setProduct(fact, "Neo4j", "neo4j", "neo4j", "")
	detail(fact, "neo4j.bolt", strconv.Itoa(int(chosen[3]))+"."+strconv.Itoa(int(chosen[2])))
	return fact
}
