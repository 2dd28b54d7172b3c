package lab

import (
	"context"
	"encoding/binary"
	"io"
	"net"
)

// Codes of the ZooKeeper protocol (zookeeper.jute and ZooDefs of Apache ZooKeeper 3.4).
const (
	zkChildren      = 8
	zkPing          = 11
	zkClose         = -11
	zkUnimplemented = -6
	// zkLeastConnect is a connect request with an empty password.
	zkLeastConnect = 28
	maxZK          = 4 << 10
	zkTransaction  = 16
)

const zkVersion = "3.4.6-1569965, built on 02/20/2014 09:09 GMT\n"

// zkWords are the four letter words (ZooKeeper administrator's guide). Each connection takes one.
var zkWords = map[string]string{
	"ruok": "imok",
	"srvr": "Zookeeper version: " + zkVersion + "Latency min/avg/max: 0/0/12\nReceived: 100\nSent: 99\nConnections: 1\nOutstanding: 0\nZxid: 0x10\nMode: standalone\nNode count: 4\n",
	"stat": "Zookeeper version: " + zkVersion + "Clients:\n\nLatency min/avg/max: 0/0/12\nReceived: 100\nSent: 99\nConnections: 1\nOutstanding: 0\nZxid: 0x10\nMode: standalone\nNode count: 4\n",
	"envi": "Environment:\nzookeeper.version=" + zkVersion + "host.name=zk\njava.version=1.8.0_232\n",
	"mntr": "zk_version\t" + zkVersion + "zk_server_state\tstandalone\n",
}

// zookeeperOpen answers the four letter words, and gives everybody a session in which the names at the root can be read.
func zookeeperOpen(_ context.Context, conn net.Conn) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	if answer, ok := zkWords[string(head)]; ok {
		_, _ = io.WriteString(conn, answer)
		return
	}
	connect, err := zkBody(conn, head)
	if err != nil || len(connect) < zkLeastConnect {
		return
	}
	// Protocol version, the time-out that was asked for, session, password of 16 bytes, not read-only.
	answer := append(make([]byte, 4), connect[12:16]...)
	answer = append(answer, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 16)
	answer = append(answer, make([]byte, 17)...)
	for {
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...)); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		request, err := zkBody(conn, head)
		if err != nil || len(request) < 8 {
			return
		}
		if answer = zkAnswer(request); answer == nil {
			return
		}
	}
}

// zkBody reads a frame whose length has been read.
func zkBody(conn net.Conn, head []byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(head)
	if size > maxZK {
		return nil, io.ErrUnexpectedEOF
	}
	body := make([]byte, size)
	_, err := io.ReadFull(conn, body)
	return body, err
}

// zkAnswer answers a request of transaction and type; nil ends the session.
func zkAnswer(request []byte) []byte {
	answer := append([]byte(nil), request[:4]...)
	answer = binary.BigEndian.AppendUint64(answer, zkTransaction)
	switch code := int32(binary.BigEndian.Uint32(request[4:])); code {
	case zkClose:
		return nil
	case zkPing:
		return append(answer, 0, 0, 0, 0)
	case zkChildren:
		answer = append(answer, 0, 0, 0, 0, 0, 0, 0, 2)
		for _, name := range []string{"config", "zookeeper"} {
			answer = append(binary.BigEndian.AppendUint32(answer, uint32(len(name))), name...)
		}
		return answer
	}
	unimplemented := int32(zkUnimplemented)
	return binary.BigEndian.AppendUint32(answer, uint32(unimplemented))
}
