package service

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

// askElsewhere is ask for protocols that answer from another port of the target (TFTP always, SSDP often). That needs a socket that is
// not connected: the guard is asked for the address and port first, and what other hosts send is not read.
func (d *datagrams) askElsewhere(question []byte, is func(answer []byte) bool) ([]byte, error) {
	remote, isUDP := d.conn.RemoteAddr().(*net.UDPAddr)
	local, hasLocal := d.conn.LocalAddr().(*net.UDPAddr)
	if !isUDP || !hasLocal || d.prober.env.Guard == nil {
		return d.ask(question, is) // a connection that is not of the network
	}
	if err := d.prober.env.Guard.JudgeAddrPort(remote.AddrPort()); err != nil {
		return nil, err
	}
	socket, err := (&net.ListenConfig{}).ListenPacket(d.ctx, "udp", net.JoinHostPort(local.IP.String(), "0"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = socket.Close() }()
	stop := context.AfterFunc(d.ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for range udpTries {
		if err := d.prober.env.TakePermits(d.ctx, d.prober.reach, 1); err != nil {
			return nil, err
		}
		if _, err := socket.WriteTo(question, remote); err != nil {
			return nil, err
		}
		if answer, size := d.hearElsewhere(socket, remote.AddrPort().Addr(), is); answer != nil {
			d.raw = append(d.raw, answer[:min(len(answer), probes.MaxBannerBytes-len(d.raw))]...)
			if factor := size / max(len(question), 1); factor > 1 {
				d.amplifies = max(d.amplifies, uint32(factor))
			}
			return answer, nil
		}
		if d.ctx.Err() != nil {
			return nil, d.ctx.Err()
		}
	}
	return nil, errSilent
}

// hearElsewhere waits for the first answer of the protocol, and counts the bytes of those that follow it at once.
func (d *datagrams) hearElsewhere(socket net.PacketConn, from netip.Addr, is func([]byte) bool) (first []byte, size int) {
	until := time.Now().Add(d.prober.patience.udp)
	data := make([]byte, 64<<10)
	for range maxDatagrams {
		if socket.SetReadDeadline(until) != nil || d.ctx.Err() != nil {
			break
		}
		n, sender, err := socket.ReadFrom(data)
		if err != nil {
			break
		}
		if source, ok := sender.(*net.UDPAddr); !ok || source.AddrPort().Addr().Unmap() != from.Unmap() {
			continue
		}
		if first == nil && is(data[:n]) {
			first, until = append(first, data[:n]...), time.Now().Add(d.prober.patience.settle)
		}
		if first != nil {
			size += n
		}
	}
	return first, size
}
