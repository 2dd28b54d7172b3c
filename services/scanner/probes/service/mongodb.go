package service

import (
	"encoding/binary"
	"strconv"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Opcodes of the MongoDB wire protocol (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/).
const (
	opReply = 1
	opQuery = 2004
	opMsg   = 2013
)

// mongodb asks who the server is, as every driver does before it logs in, then for the names of the databases: that they
// may be read is the proof.
func mongodb(t *talk) *modelv1.ServiceFact {
	hello, err := t.mongoCall(mongoQuery("isMaster", 1))
	if err != nil {
		return nil
	}
	if _, isServer := hello["maxWireVersion"]; !isServer {
		if _, isServer = hello["ismaster"]; !isServer {
			return nil
		}
	}
	fact := named("mongodb")
	setProduct(fact, "MongoDB", "mongodb", "mongodb", "")
	modern := number(hello["maxWireVersion"]) >= 6 // OP_MSG came with 3.6
	call := func(command string) (map[string]any, error) {
		if modern {
			return t.mongoCall(mongoMessage(command))
		}
		return t.mongoCall(mongoQuery(command, 1))
	}
	if build, err := call("buildInfo"); err == nil {
		version, _ := build["version"].(string)
		setProduct(fact, "MongoDB", "mongodb", "mongodb", version)
	}
	if list, err := call("listDatabases"); err == nil && number(list["ok"]) == 1 {
		if databases, isList := list["databases"].(map[string]any); isList {
			proven(fact, "listDatabases: ok with "+strconv.Itoa(len(databases))+" databases")
		}
	}
	return fact
}

func number(value any) float64 {
	switch value := value.(type) {
	case float64:
		return value
	case int32:
		return float64(value)
	case int64:
		return float64(value)
	case bool:
		if value {
			return 1
		}
	}
	return 0
}

// mongoQuery writes OP_QUERY on admin.$cmd, which servers of every age take for the first command.
func mongoQuery(command string, value int32) []byte {
	body := binary.LittleEndian.AppendUint32(nil, 0) // flags
	body = append(body, "admin.$cmd\x00"...)
	body = binary.LittleEndian.AppendUint32(body, 0)          // skip
	body = binary.LittleEndian.AppendUint32(body, 0xffffffff) // return one
	return mongoFrame(opQuery, append(body, bsonCommand(command, value, "")...))
}

// mongoMessage writes OP_MSG with one section.
func mongoMessage(command string) []byte {
	body := binary.LittleEndian.AppendUint32(nil, 0) // flags
	body = append(body, 0)                           // a section of kind 0: one document
	return mongoFrame(opMsg, append(body, bsonCommand(command, 1, "admin")...))
}

func mongoFrame(opcode uint32, body []byte) []byte {
	frame := binary.LittleEndian.AppendUint32(nil, uint32(16+len(body)))
	frame = binary.LittleEndian.AppendUint32(frame, 1) // request id
	frame = binary.LittleEndian.AppendUint32(frame, 0)
	frame = binary.LittleEndian.AppendUint32(frame, opcode)
	return append(frame, body...)
}

// bsonCommand writes {command: value} and, for OP_MSG, the database; names only where databases are listed.
func bsonCommand(command string, value int32, database string) []byte {
	var doc []byte
	doc = append(append(append(doc, 0x10), command...), 0)
	doc = binary.LittleEndian.AppendUint32(doc, uint32(value))
	if command == "listDatabases" {
		doc = append(append(append(doc, 0x08), "nameOnly"...), 0, 1)
	}
	if database != "" {
		doc = append(append(append(doc, 0x02), "$db"...), 0)
		doc = binary.LittleEndian.AppendUint32(doc, uint32(len(database)+1))
		doc = append(append(doc, database...), 0)
	}
	doc = append(doc, 0)
	return append(binary.LittleEndian.AppendUint32(nil, uint32(4+len(doc))), doc...)
}

// mongoCall sends a request and reads the document of the answer.
func (t *talk) mongoCall(request []byte) (map[string]any, error) {
	if err := t.send(request); err != nil {
		return nil, err
	}
	head, err := t.take(16)
	if err != nil {
		return nil, err
	}
	size, opcode := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[12:])
	before := 0
	switch opcode {
	case opReply:
		before = 20
	case opMsg:
		before = 5
	default:
		return nil, errNotIt
	}
	if size < uint32(16+before+5) || size > 60<<10 {
		return nil, errNotIt
	}
	body, err := t.take(int(size) - 16)
	if err != nil {
		return nil, err
	}
	return parseBSON(body[before:], 0)
}

const (
	maxBSONDepth  = 8
	maxBSONFields = 4096
)

// parseBSON reads the fields of a document that we use: numbers, texts, booleans, documents and arrays (as documents). Other
// kinds are skipped (https://bsonspec.org/spec.html).
func parseBSON(data []byte, depth int) (map[string]any, error) {
	if len(data) < 5 || depth > maxBSONDepth {
		return nil, errNotIt
	}
	size := binary.LittleEndian.Uint32(data)
	if size < 5 || uint64(size) > uint64(len(data)) {
		return nil, errNotIt
	}
	data = data[4:size]
	fields := make(map[string]any)
	for len(data) > 0 && data[0] != 0 {
		kind := data[0]
		name, rest, found := cutZero(data[1:])
		if !found || len(fields) >= maxBSONFields {
			return nil, errNotIt
		}
		value, used, err := bsonValue(kind, rest, depth)
		if err != nil {
			return nil, err
		}
		if value != nil {
			fields[name] = value
		}
		data = rest[used:]
	}
	if len(data) == 0 {
		return nil, errNotIt
	}
	return fields, nil
}

// cutZero divides at the first zero byte.
func cutZero(data []byte) (text string, rest []byte, found bool) {
	for i, b := range data {
		if b == 0 {
			return string(data[:i]), data[i+1:], true
		}
	}
	return "", nil, false
}

// bsonFixed are the sizes of values that have one: double, int32, timestamp, int64, decimal, ObjectId, bool, date, null, ...
var bsonFixed = map[byte]int{0x01: 8, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x07: 12, 0x08: 1, 0x09: 8, 0x0a: 0, 0x06: 0, 0xff: 0, 0x7f: 0}

func bsonValue(kind byte, data []byte, depth int) (value any, used int, err error) {
	if size, fixed := bsonFixed[kind]; fixed {
		if len(data) < size {
			return nil, 0, errNotIt
		}
		return bsonScalar(kind, data), size, nil
	}
	if kind == 0x0b { // regular expression: two texts
		_, rest, found := cutZero(data)
		if !found {
			return nil, 0, errNotIt
		}
		if _, rest, found = cutZero(rest); !found {
			return nil, 0, errNotIt
		}
		return nil, len(data) - len(rest), nil
	}
	if len(data) < 4 {
		return nil, 0, errNotIt
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	switch kind {
	case 0x03, 0x04: // document, array: the size counts itself
		if size > uint64(len(data)) {
			return nil, 0, errNotIt
		}
		inner, err := parseBSON(data[:size], depth+1)
		return inner, int(size), err
	case 0x02, 0x0d, 0x0e: // text, with a zero at its end
		if size == 0 || size+4 > uint64(len(data)) {
			return nil, 0, errNotIt
		}
		return string(data[4 : 3+size]), int(4 + size), nil
	case 0x05: // binary: size, subtype, bytes
		if size+5 > uint64(len(data)) {
			return nil, 0, errNotIt
		}
		return nil, int(size + 5), nil
	default:
		return nil, 0, errNotIt
	}
}

func bsonScalar(kind byte, data []byte) any {
	switch kind {
	case 0x01:
		return float64frombits(data)
	case 0x08:
		return data[0] != 0
	case 0x10:
		return int32(binary.LittleEndian.Uint32(data))
	case 0x12:
		return int64(binary.LittleEndian.Uint64(data))
	default:
		return nil
	}
}
