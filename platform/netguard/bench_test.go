package netguard_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
)

func BenchmarkJudge(b *testing.B) {
	guard := netguard.New(netguard.Options{})
	for name, text := range map[string]string{
		"IPv4": "8.8.8.8:443", "IPv6": "[2a00:1450::8]:443", "NAT64": "[64:ff9b::8.8.8.8]:443",
	} {
		target := netip.MustParseAddrPort(text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := guard.JudgeAddrPort(target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDial compares with the floor: the same connection from a bare dialer.
func BenchmarkDial(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	b.Cleanup(func() { l.Close(); running.Wait() })
	address := l.Addr().String()
	run := func(name string, dial func() (net.Conn, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := dial()
				if err != nil {
					b.Fatal(err)
				}
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		})
	}
	session := netguard.New(netguard.Options{AllowPrivate: true}).NewSession()
	run("floor", func() (net.Conn, error) { return new(net.Dialer).DialContext(b.Context(), "tcp", address) })
	run("session", func() (net.Conn, error) { return session.DialContext(b.Context(), "tcp", address) })
}
