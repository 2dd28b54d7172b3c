package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"strings"
)

// Codes and sizes of the MongoDB wire protocol.
const (
	mongoReply    = 1
	mongoQuery    = 2004
	mongoMessage  = 2013
	mongoHeader   = 16
	maxMongoBytes = 64 << 10
)

// mongoOpen answers everybody, in OP_QUERY as old drivers speak and in OP_MSG.
func mongoOpen(_ context.Context, conn net.Conn) {
	for {
		head := make([]byte, mongoHeader)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		size := binary.LittleEndian.Uint32(head)
		if size < mongoHeader || size > maxMongoBytes {
			return
		}
		body := make([]byte, size-mongoHeader)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		reply := mongoAnswer(binary.LittleEndian.Uint32(head[12:]), head[4:8], body)
		if reply == nil {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// mongoAnswer returns the whole reply, nil for a message that makes no sense.
func mongoAnswer(code uint32, request, body []byte) []byte {
	var payload []byte
	replyCode := uint32(mongoReply)
	switch code {
	case mongoQuery:
		// Flags, collection name, skip, return; then the query.
		end := bytes.IndexByte(body[min(4, len(body)):], 0)
		if end < 0 || len(body) < 4+end+1+8 {
			return nil
		}
		document := mongoDocument(mongoCommand(body[4+end+1+8:]))
		// Flags AwaitCapable, cursor, starting from, number returned.
		payload = binary.LittleEndian.AppendUint32(payload, 8)
		payload = append(payload, make([]byte, 12)...)
		payload = binary.LittleEndian.AppendUint32(payload, 1)
		payload = append(payload, document...)
	case mongoMessage:
		// Flags and a section of kind 0.
		if len(body) < 5 || body[4] != 0 {
			return nil
		}
		replyCode = mongoMessage
		payload = append(make([]byte, 5), mongoDocument(mongoCommand(body[5:]))...)
	default:
		return nil
	}
	reply := binary.LittleEndian.AppendUint32(nil, uint32(mongoHeader+len(payload)))
	reply = binary.LittleEndian.AppendUint32(reply, 1)
	reply = append(reply, request...)
	reply = binary.LittleEndian.AppendUint32(reply, replyCode)
	return append(reply, payload...)
}

// mongoCommand returns the name of the first element of a BSON document in lower case: the command.
func mongoCommand(document []byte) string {
	if len(document) < 6 {
		return ""
	}
	name, _, _ := bytes.Cut(document[5:], []byte{0})
	return strings.ToLower(string(name))
}

func mongoDocument(command string) []byte {
	switch command {
	case "ismaster", "hello":
		return bson(bsonBool("ismaster", true), bsonInt("maxWireVersion", 6), bsonInt("minWireVersion", 0), bsonInt("maxBsonObjectSize", 16777216), bsonDouble("ok", 1))
	case "buildinfo":
		return bson(bsonString("version", "3.6.8"), bsonString("gitVersion", "lab"), bsonDouble("ok", 1))
	case "listdatabases":
		one := bson(bsonString("name", "acme"), bsonDouble("sizeOnDisk", 8192), bsonBool("empty", false))
		return bson(bsonArray("databases", one), bsonDouble("totalSize", 8192), bsonDouble("ok", 1))
	case "ping":
		return bson(bsonDouble("ok", 1))
	}
	return bson(bsonDouble("ok", 0), bsonString("errmsg", "no such command"), bsonInt("code", 59))
}

// bson makes a document of elements (bsonspec.org, version 1.1).
func bson(elements ...[]byte) []byte {
	body := bytes.Join(elements, nil)
	document := binary.LittleEndian.AppendUint32(nil, uint32(4+len(body)+1))
	return append(append(document, body...), 0)
}

func bsonElement(kind byte, name string, value []byte) []byte {
	return append(append([]byte{kind}, name+"\x00"...), value...)
}

func bsonDouble(name string, v float64) []byte {
	return bsonElement(1, name, binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
}

func bsonString(name, v string) []byte {
	return bsonElement(2, name, append(binary.LittleEndian.AppendUint32(nil, uint32(len(v)+1)), v+"\x00"...))
}

// bsonArray makes an array of one document.
func bsonArray(name string, only []byte) []byte {
	return bsonElement(4, name, bson(bsonElement(3, "0", only)))
}

func bsonBool(name string, v bool) []byte {
	if v {
		return bsonElement(8, name, []byte{1})
	}
	return bsonElement(8, name, []byte{0})
}

func bsonInt(name string, v int32) []byte {
	return bsonElement(16, name, binary.LittleEndian.AppendUint32(nil, uint32(v)))
}
