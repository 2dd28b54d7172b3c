package port

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/platform/portlist"
)

// BenchmarkPortScan measures the scanner against its floor: the fastest bare loop of non-blocking connects that uses a
// refused socket again, on one processor or on all. "ratio" is ports a second by ports a second of the floor in the same
// run; "missed" counts open ports that the scan did not see.
func BenchmarkPortScan(b *testing.B) {
	b.Run("loopback-65535", func(b *testing.B) {
		compare(b, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, portlist.All().ByLikelihood())
	})
	b.Run("256x1000", func(b *testing.B) {
		addrs := make([]netip.Addr, 256)
		for i := range addrs {
			addrs[i] = netip.AddrFrom4([4]byte{127, 0, 1, byte(i)})
		}
		compare(b, addrs, portlist.Top1000().ByLikelihood())
	})
}

func compare(b *testing.B, addrs []netip.Addr, ports []uint16) {
	fastest, workers := 0.0, 1
	for _, n := range []int{1, runtime.GOMAXPROCS(0)} {
		b.Run("floor-workers="+strconv.Itoa(n), func(b *testing.B) {
			speed := measure(b, len(addrs)*len(ports), func() { bareLoop(b, addrs, ports, n) }, nil)
			if speed > fastest {
				fastest, workers = speed, n
			}
		})
	}
	b.Run("scan", func(b *testing.B) {
		open := listenSome(b, addrs, ports)
		guard := netguard.New(netguard.Options{AllowPrivate: true})
		missed, heap, floor := 0, new(peakHeap), time.Duration(1<<62)
		speed := measure(b, len(addrs)*len(ports), func() {
			results, err := NewScanner().Scan(b.Context(), Options{Guard: guard}, addrs, ports)
			if err != nil {
				b.Fatal(err)
			}
			heap.sample()
			missed += count(open) - seen(results, open)
			for _, r := range results {
				if r.Unscanned+r.Filtered+r.Denied > 0 || r.Err != nil {
					b.Fatalf("%+v", r)
				}
			}
		}, func() { // the floor again between the rounds: what else the machine does must meet both alike
			started := time.Now()
			bareLoop(b, addrs, ports, workers)
			floor = min(floor, time.Since(started))
		})
		b.ReportMetric(float64(missed), "missed")
		b.ReportMetric(float64(heap.bytes)/(1<<20), "heap-MiB")
		b.ReportMetric(speed*floor.Seconds()/float64(len(addrs)*len(ports)), "ratio")
	})
}

// measure runs scan b.N times and reports ports a second of the fastest round: what else the machine does only slows down.
// Between the rounds, outside of the time that counts, it runs between.
func measure(b *testing.B, ports int, scan, between func()) float64 {
	best := time.Duration(1 << 62)
	for b.Loop() {
		if between != nil {
			b.StopTimer()
			between()
			b.StartTimer()
		}
		started := time.Now()
		scan()
		best = min(best, time.Since(started))
	}
	speed := float64(ports) / best.Seconds()
	b.ReportMetric(speed, "ports/s")
	return speed
}

type peakHeap struct{ bytes uint64 }

func (p *peakHeap) sample() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	p.bytes = max(p.bytes, stats.HeapInuse+stats.StackInuse)
}

// bareLoop is the floor: what a few lines without timeouts, results, limits or judgement can do.
func bareLoop(b *testing.B, addrs []netip.Addr, ports []uint16, workers int) {
	var next atomic.Int64
	var group sync.WaitGroup
	total, chunk := len(addrs)*len(ports), 250
	for range workers {
		group.Go(func() {
			fd := bareSocket(b)
			defer func() { _ = unix.Close(fd) }()
			var target [unix.SizeofSockaddrInet4]byte
			binary.NativeEndian.PutUint16(target[:], unix.AF_INET)
			for {
				from := int(next.Add(int64(chunk))) - chunk
				if from >= total {
					return
				}
				for i := from; i < min(from+chunk, total); i++ {
					addr := addrs[i/len(ports)].As4()
					copy(target[4:], addr[:])
					binary.BigEndian.PutUint16(target[2:], ports[i%len(ports)])
					for errno := unix.EINPROGRESS; errno == unix.EINPROGRESS || errno == unix.EALREADY; {
						_, _, errno = syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&target)), unsafe.Sizeof(target))
						if errno == 0 || errno == unix.EISCONN {
							_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
							_ = unix.Close(fd)
							fd = bareSocket(b)
						}
					}
				}
			}
		})
	}
	group.Wait()
}

func bareSocket(b *testing.B) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Error(err)
	}
	return fd
}

// listenSome opens ports among those that are scanned: every 16th host has one, and a host alone has 32.
func listenSome(b *testing.B, addrs []netip.Addr, ports []uint16) map[netip.Addr][]uint16 {
	open := make(map[netip.Addr][]uint16)
	for i := 0; i < len(addrs); i += 16 {
		wanted := 1
		if len(addrs) == 1 {
			wanted = 32
		}
		for n := i * 7; wanted > 0; n++ {
			port := ports[n*37%len(ports)]
			listener, err := net.Listen("tcp", netip.AddrPortFrom(addrs[i], port).String())
			if err != nil {
				continue // taken
			}
			b.Cleanup(func() { _ = listener.Close() })
			go acceptAll(listener)
			open[addrs[i]] = append(open[addrs[i]], port)
			wanted--
		}
	}
	return open
}

func acceptAll(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

func count(open map[netip.Addr][]uint16) (n int) {
	for _, ports := range open {
		n += len(ports)
	}
	return n
}

func seen(results []HostResult, open map[netip.Addr][]uint16) (n int) {
	for _, r := range results {
		set := portlist.Of(r.Open...)
		for _, port := range open[r.Addr] {
			if set.Contains(port) {
				n++
			}
		}
	}
	return n
}
