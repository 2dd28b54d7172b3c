package service

import (
	"bytes"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// redis says PING (https://redis.io/docs/latest/develop/reference/protocol-spec/); INFO tells the version, and that it may
// be read proves that no password is asked for.
func redis(t *talk) *modelv1.ServiceFact {
	if t.send([]byte("*1\r\n$4\r\nPING\r\n")) != nil {
		return nil
	}
	pong, err := t.text()
	if err != nil {
		return nil
	}
	if strings.HasPrefix(pong, "-") {
		return redisRefusal(pong)
	}
	if pong != "+PONG" {
		return nil
	}
	fact := named("redis")
	if t.send([]byte("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n")) != nil {
		return fact
	}
	info, err := t.redisBulk()
	if err != nil {
		return fact
	}
	values := colonLines(info)
	if version := values["valkey_version"]; version != "" {
		setProduct(fact, "Valkey", "lfprojects", "valkey", version)
	} else {
		setProduct(fact, "Redis", "redis", "redis", values["redis_version"])
	}
	setSystem(fact, values["os"])
	detail(fact, "redis.mode", values["redis_mode"])
	if fact.GetVersion() != "" {
		proven(fact, "PING: PONG; INFO: version "+fact.GetVersion())
	}
	return fact
}

// redisRefusal knows the words of a server that wants a password or another address.
func redisRefusal(said string) *modelv1.ServiceFact {
	for _, words := range []string{"-NOAUTH", "-DENIED Redis", "-DENIED Valkey", "-ERR operation not permitted", "-NOPERM", "-ERR max number of clients"} {
		if strings.HasPrefix(said, words) {
			fact := named("redis")
			fact.Banner = safe(said, maxBanner)
			fact.Product = "Redis"
			detail(fact, "redis.refusal", strings.TrimPrefix(said, "-"))
			return fact
		}
	}
	return nil
}

// redisBulk reads a bulk string, or the error instead of it.
func (t *talk) redisBulk() ([]byte, error) {
	head, err := t.text()
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
	if err != nil || !strings.HasPrefix(head, "$") || size < 0 {
		return nil, errNotIt
	}
	return t.take(size)
}

// colonLines reads lines of "name:value".
func colonLines(text []byte) map[string]string {
	values := make(map[string]string)
	for line := range bytes.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(string(line)), ":"); found {
			values[name] = value
		}
	}
	return values
}

// memcached asks for version and statistics (protocol.txt of memcached): that they may be read is the proof.
func memcached(t *talk) *modelv1.ServiceFact {
	version, err := t.ask("version")
	if err != nil {
		return nil
	}
	if strings.HasPrefix(version, "CLIENT_ERROR unauthenticated") {
		fact := named("memcached")
		fact.Product = "memcached"
		return fact
	}
	number, found := strings.CutPrefix(version, "VERSION ")
	if !found {
		return nil
	}
	fact := named("memcached")
	setProduct(fact, "memcached", "memcached", "memcached", number)
	if statistic, err := t.ask("stats"); err == nil && strings.HasPrefix(statistic, "STAT ") {
		proven(fact, "stats: "+statistic)
	}
	_ = t.send([]byte("quit\r\n"))
	return fact
}
