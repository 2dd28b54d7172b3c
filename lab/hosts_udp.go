package lab

import (
	"bytes"
	"context"
	"net"
	"strings"
)

// udpHosts answer over UDP alone.
func udpHosts() []host {
	return []host{
		{number: 76, servers: []server{
			{port: 11211, udpOnly: true, run: datagrams(memcachedDatagram), note: "memcached 1.5.5 over UDP", checks: []string{
				"service-memcached-unauthenticated", "service-udp-amplifier", "service-version-disclosed",
			}},
			{port: 1900, udpOnly: true, run: datagrams(ssdpDatagram), note: "UPnP over UDP", checks: []string{"service-local-discovery-exposed"}},
		}},
	}
}

// maxDatagram is the largest request that is read.
const maxDatagram = 2048

// datagrams answers each datagram with what answer gives for it; nil is silence.
func datagrams(answer func(request []byte) []byte) starter {
	return func(_ context.Context, r *running, _ host, s sockets) error {
		r.group.Go(func() { serveDatagrams(s.udp, answer) })
		return nil
	}
}

// serveDatagrams ends when the socket closes.
func serveDatagrams(socket net.PacketConn, answer func(request []byte) []byte) {
	buffer := make([]byte, maxDatagram)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		if reply := answer(bytes.Clone(buffer[:n])); reply != nil {
			_, _ = socket.WriteTo(reply, from)
		}
	}
}

// memcachedDatagram answers in the frame of eight bytes that memcached has over UDP: request id, number, count, nothing.
func memcachedDatagram(request []byte) []byte {
	if len(request) < 10 {
		return nil
	}
	frame := append(bytes.Clone(request[:2]), 0, 0, 0, 1, 0, 0)
	switch strings.TrimSpace(string(request[8:])) {
	case "version":
		return append(frame, "VERSION 1.5.5\r\n"...)
	case "stats":
		return append(frame, "STAT pid 1\r\n"+strings.Repeat("STAT slab_reassign_rescues 0\r\n", 40)+"END\r\n"...)
	}
	return append(frame, "ERROR\r\n"...)
}

// ssdpDatagram answers a search for the root device.
func ssdpDatagram(request []byte) []byte {
	if !bytes.HasPrefix(request, []byte("M-SEARCH ")) {
		return nil
	}
	return []byte("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: upnp:rootdevice\r\nUSN: uuid:0::upnp:rootdevice\r\nSERVER: UPnP/1.0\r\n\r\n")
}
