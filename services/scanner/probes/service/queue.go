package service

import (
	"bytes"
	"encoding/binary"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// amqp reads Connection.Start, which tells product and version (AMQP 0-9-1 section 1.4.2.1); nobody logs in.
func amqp(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("AMQP\x00\x00\x09\x01")) != nil {
		return nil
	}
	head, err := t.take(7)
	if err != nil {
		return nil
	}
	if bytes.HasPrefix(head, []byte("AMQP")) { // another version of the protocol
		return named("amqp")
	}
	size := binary.BigEndian.Uint32(head[3:])
	if head[0] != 1 || head[1] != 0 || head[2] != 0 || size < 6 || size > 32<<10 {
		return nil
	}
	payload, err := t.take(int(size))
	if err != nil {
		return nil
	}
	properties, err := parseAMQPStart(payload)
	if err != nil {
		return nil
	}
	fact := named("amqp")
	if product := properties["product"]; product == "RabbitMQ" {
		setProduct(fact, "RabbitMQ", "vmware", "rabbitmq", properties["version"])
	} else {
		setProduct(fact, safe(product, maxName), "", "", properties["version"])
	}
	fact.Banner = safe(properties["product"]+" "+properties["version"], maxBanner)
	detail(fact, "amqp.platform", properties["platform"])
	detail(fact, "amqp.mechanisms", properties["mechanisms"])
	return fact
}

// parseAMQPStart reads the texts among the server properties, and the mechanisms.
func parseAMQPStart(payload []byte) (map[string]string, error) {
	// Class 10 (connection), method 10 (start), version, then the table of properties.
	if len(payload) < 10 || binary.BigEndian.Uint32(payload) != 10<<16|10 {
		return nil, errNotIt
	}
	size := uint64(binary.BigEndian.Uint32(payload[6:]))
	if size > uint64(len(payload)-10) {
		return nil, errNotIt
	}
	properties := make(map[string]string)
	table, after := payload[10:10+size], payload[10+size:]
	for len(table) > 0 && len(properties) < 64 {
		name := int(table[0])
		if len(table) < 1+name+1 {
			return nil, errNotIt
		}
		key, kind, rest := string(table[1:1+name]), table[1+name], table[2+name:]
		switch kind {
		case 'S', 'F': // long text, table
			if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
				return nil, errNotIt
			}
			length := binary.BigEndian.Uint32(rest)
			if kind == 'S' {
				properties[key] = string(rest[4 : 4+length])
			}
			table = rest[4+length:]
		case 't':
			if len(rest) < 1 {
				return nil, errNotIt
			}
			table = rest[1:]
		default:
			table = nil // a kind that servers do not use here
		}
	}
	if len(after) >= 4 {
		if length := binary.BigEndian.Uint32(after); uint64(length) <= uint64(len(after)-4) {
			properties["mechanisms"] = string(after[4 : 4+length])
		}
	}
	return properties, nil
}
