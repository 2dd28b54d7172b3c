package service

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// mqttConnect is a CONNECT of MQTT 3.1.1 with a clean session and no name or password (OASIS MQTT 3.1.1 section 3.1).
var mqttConnect = []byte("\x10\x18\x00\x04MQTT\x04\x02\x00\x1e\x00\x0criskprofiler")

// mqtt connects without credentials and leaves: that it is let in is the proof. Nothing is subscribed to or published.
func mqtt(t *talk) *modelv1.ServiceFact {
	if t.send(mqttConnect) != nil {
		return nil
	}
	ack, err := t.take(4)
	if err != nil || ack[0] != 0x20 || ack[1] != 2 || ack[2] > 1 || ack[3] > 5 {
		return nil
	}
	fact := named("mqtt")
	fact.Banner = "CONNACK " + strconv.Itoa(int(ack[3]))
	detail(fact, "mqtt.return_code", strconv.Itoa(int(ack[3])))
	if ack[3] == 0 {
		proven(fact, "CONNECT without user name: CONNACK 0, connection accepted")
		_ = t.send([]byte{0xe0, 0})
	}
	return fact
}

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

// nats says all about itself unasked (https://docs.nats.io/reference/reference-protocols/nats-protocol).
func nats(t *talk) *modelv1.ServiceFact {
	text, err := t.text()
	if err != nil {
		return nil
	}
	var info struct {
		ID           string `json:"server_id"`
		Version      string `json:"version"`
		AuthRequired bool   `json:"auth_required"`
	}
	if json.Unmarshal([]byte(strings.TrimPrefix(text, "INFO ")), &info) != nil || info.ID == "" {
		return nil
	}
	fact := named("nats")
	setProduct(fact, "NATS", "linuxfoundation", "nats-server", info.Version)
	detail(fact, "nats.auth_required", strconv.FormatBool(info.AuthRequired))
	return fact
}

// kafka asks for the versions of the protocol that a broker speaks (ApiVersions, key 18, version 0).
func kafka(t *talk) *modelv1.ServiceFact {
	const correlation = 0x72697370
	request := []byte{0, 0, 0, 22, 0, 18, 0, 0}
	request = binary.BigEndian.AppendUint32(request, correlation)
	request = append(request, "\x00\x0criskprofiler"...)
	if t.send(request) != nil {
		return nil
	}
	head, err := t.take(10)
	if err != nil || binary.BigEndian.Uint32(head[4:]) != correlation || binary.BigEndian.Uint32(head) > 32<<10 {
		return nil
	}
	fact := named("kafka")
	setProduct(fact, "Apache Kafka", "apache", "kafka", "")
	return fact
}
