package service

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// nats says all about itself unasked (https://docs.nats.io/reference/reference-protocols/nats-protocol). Where it wants no
// credentials, that it answers a PING after a CONNECT without any is the proof; nothing is subscribed to or published.
func nats(t *talk) *modelv1.ServiceFact {
	text, err := t.text()
	if err != nil {
		return nil
	}
	var info struct {
		ID           string `json:"server_id"`
		Version      string `json:"version"`
		AuthRequired bool   `json:"auth_required"`
		TLSRequired  bool   `json:"tls_required"`
	}
	if json.Unmarshal([]byte(strings.TrimPrefix(text, "INFO ")), &info) != nil || info.ID == "" {
		return nil
	}
	fact := named("nats")
	setProduct(fact, "NATS", "linuxfoundation", "nats-server", info.Version)
	detail(fact, "nats.auth_required", strconv.FormatBool(info.AuthRequired))
	if info.AuthRequired || info.TLSRequired || t.send([]byte("CONNECT {\"verbose\":false,\"name\":\"riskprofiler\"}\r\nPING\r\n")) != nil {
		return fact
	}
	for range 4 { // it may say more about itself first
		if answer, err := t.text(); err != nil || strings.HasPrefix(answer, "-ERR") {
			break
		} else if answer == "PONG" {
			proven(fact, "CONNECT without credentials, then PING: PONG")
			break
		}
	}
	return fact
}

// kafka asks for the versions of the protocol that a broker speaks (ApiVersions, key 18, version 0), then for its brokers and
// no topic (Metadata, key 3, version 1): a broker that wants credentials hangs up on that, so the answer is the proof.
func kafka(t *talk) *modelv1.ServiceFact {
	if t.send(kafkaRequest(18, 0, nil)) != nil {
		return nil
	}
	body, err := t.kafkaReply()
	if err != nil || len(body) < 6 {
		return nil
	}
	fact := named("kafka")
	setProduct(fact, "Apache Kafka", "apache", "kafka", "")
	if t.send(kafkaRequest(3, 1, []byte{0, 0, 0, 0})) != nil {
		return fact
	}
	if body, err := t.kafkaReply(); err == nil {
		if count, host, ok := kafkaBrokers(body); ok {
			detail(fact, "kafka.broker", host)
			proven(fact, "Metadata: "+strconv.Itoa(count)+" brokers, the first one "+host)
		}
	}
	return fact
}

const kafkaCorrelation = 0x72697370

func kafkaRequest(key, version byte, body []byte) []byte {
	request := []byte{0, key, 0, version}
	request = binary.BigEndian.AppendUint32(request, kafkaCorrelation)
	request = append(append(request, "\x00\x0criskprofiler"...), body...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...)
}

func (t *talk) kafkaReply() ([]byte, error) {
	head, err := t.take(8)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size < 4 || size > 32<<10 || binary.BigEndian.Uint32(head[4:]) != kafkaCorrelation {
		return nil, errNotIt
	}
	return t.take(int(size) - 4)
}

// kafkaBrokers reads the number of brokers, and host and port of the first: its id, its name behind two bytes, its port.
func kafkaBrokers(body []byte) (count int, host string, ok bool) {
	if len(body) < 4+4+2 {
		return 0, "", false
	}
	number := binary.BigEndian.Uint32(body)
	size := int(binary.BigEndian.Uint16(body[8:]))
	if number == 0 || number > 10000 || len(body) < 10+size+4 {
		return 0, "", false
	}
	return int(number), string(body[10:10+size]) + ":" + strconv.FormatUint(uint64(binary.BigEndian.Uint32(body[10+size:])), 10), true
}

// isOpenWire knows the greeting of ActiveMQ: its size, the kind "wire format" and a magic word.
func isOpenWire(said []byte) bool {
	return len(said) >= 13 && said[4] == 1 && string(said[5:13]) == "ActiveMQ"
}

// openWire reads the greeting, which says its version; nothing is sent.
func openWire(t *talk) *modelv1.ServiceFact {
	fact := named("openwire")
	setProduct(fact, "Apache ActiveMQ", "apache", "activemq", "")
	// A name and its value, a text (kind 9) behind two bytes of length.
	if _, after, found := bytes.Cut(t.rest(), []byte("ProviderVersion\x09")); found && len(after) >= 2 {
		if size := int(binary.BigEndian.Uint16(after)); size <= len(after)-2 {
			setProduct(fact, "Apache ActiveMQ", "apache", "activemq", string(after[2:2+size]))
		}
	}
	return fact
}

// stomp connects without credentials and leaves (STOMP 1.2): that it is let in is the proof.
func stomp(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\n\n\x00\n")) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool { return bytes.IndexByte(rest, 0) >= 0 })
	said := t.rest()
	if !bytes.HasPrefix(said, []byte("CONNECTED\n")) && !bytes.HasPrefix(said, []byte("ERROR\n")) {
		return nil
	}
	fact := named("stomp")
	server := headerOf(said, "server")
	detail(fact, "stomp.server", server)
	nameProduct(fact, server, []product{
		{"activemq-artemis/", "Apache ActiveMQ Artemis", "apache", "activemq_artemis", "activemq-artemis/"},
		{"activemq/", "Apache ActiveMQ", "apache", "activemq", "activemq/"},
		{"rabbitmq/", "RabbitMQ", "vmware", "rabbitmq", "rabbitmq/"},
	})
	if bytes.HasPrefix(said, []byte("CONNECTED\n")) {
		proven(fact, "CONNECT without credentials: CONNECTED, server "+server)
		_ = t.send([]byte("DISCONNECT\n\n\x00\n"))
	}
	return fact
}

// mqttConnect is a CONNECT of MQTT 3.1.1 with a clean session and no name or password (OASIS MQTT 3.1.1 section 3.1).
var mqttConnect = []byte("\x10\x18\x00\x04MQTT\x04\x02\x00\x1e\x00\x0criskprofiler")

// mqttVersion subscribes to the topic by which brokers tell their version (https://mosquitto.org/man/mosquitto-8.html, section
// "Broker status"): one retained message and none of any client's. The session is clean, so the subscription ends with it.
var mqttVersion = []byte("\x82\x18\x00\x01\x00\x13$SYS/broker/version\x00")

// mqtt connects without credentials and leaves: that it is let in is the proof. Nothing is published.
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
	if ack[3] != 0 {
		return fact
	}
	proven(fact, "CONNECT without user name: CONNACK 0, connection accepted")
	if t.send(mqttVersion) == nil {
		if version, err := t.mqttRetained(); err == nil {
			detail(fact, "mqtt.version", version)
			nameProduct(fact, version, []product{
				{"mosquitto version ", "Eclipse Mosquitto", "eclipse", "mosquitto", "mosquitto version "},
				{"hivemq", "HiveMQ", "hivemq", "hivemq", "hivemq "},
				{"vernemq", "VerneMQ", "vernemq", "vernemq", "vernemq "},
			})
		}
	}
	_ = t.send([]byte{0xe0, 0})
	return fact
}

// mqttRetained reads packets until the one with the message: a PUBLISH with the topic behind its length, at most four packets.
func (t *talk) mqttRetained() (string, error) {
	for range 4 {
		head, err := t.take(2)
		if err != nil {
			return "", err
		}
		if head[1] >= 0x80 { // more than 127 bytes: not what was asked for
			return "", errNotIt
		}
		body, err := t.take(int(head[1]))
		if err != nil {
			return "", err
		}
		if head[0]&0xf0 != 0x30 || len(body) < 2 {
			continue
		}
		if size := int(binary.BigEndian.Uint16(body)); size <= len(body)-2 {
			return string(body[2+size:]), nil
		}
	}
	return "", errNotIt
}
