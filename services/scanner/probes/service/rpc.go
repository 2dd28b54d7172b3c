package service

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Programs of ONC RPC (https://www.iana.org/assignments/rpc-program-numbers/).
const (
	rpcPortmapper = 100000
	rpcNFS        = 100003
	rpcMount      = 100005
	rpcXID        = 0x72697370
)

// rpcCall writes a call without credentials and arguments (RFC 5531 section 9).
func rpcCall(program, version, procedure uint32) []byte {
	var call []byte
	for _, word := range []uint32{rpcXID, 0, 2, program, version, procedure, 0, 0, 0, 0} {
		call = binary.BigEndian.AppendUint32(call, word)
	}
	return call
}

func isRPCReply(body []byte) bool {
	return len(body) >= 12 && binary.BigEndian.Uint32(body) == rpcXID && binary.BigEndian.Uint32(body[4:]) == 1
}

// rpcAccepted is what follows an accepted reply that succeeded, nil for any other.
func rpcAccepted(body []byte) []byte {
	if len(body) < 24 || binary.BigEndian.Uint32(body[8:]) != 0 || binary.BigEndian.Uint32(body[20:]) != 0 {
		return nil
	}
	return body[24:]
}

// rpc makes a call over TCP, behind the mark of a record, and reads the reply.
func (t *talk) rpc(program, version, procedure uint32) ([]byte, error) {
	call := rpcCall(program, version, procedure)
	if err := t.send(append(binary.BigEndian.AppendUint32(nil, 0x80000000|uint32(len(call))), call...)); err != nil {
		return nil, err
	}
	head, err := t.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head) &^ 0x80000000
	if size < 12 || size > 32<<10 {
		return nil, errNotIt
	}
	body, err := t.take(int(size))
	if err == nil && !isRPCReply(body) {
		err = errNotIt
	}
	return body, err
}

// rpcbind asks for the table of programs (RFC 1833 section 3, procedure DUMP); and where file systems are mounted from, for the
// list of those and who may (RFC 1813 section 5.2.5): that everybody may is the proof. Nothing is mounted.
func rpcbind(t *talk) *modelv1.ServiceFact {
	body, err := t.rpc(rpcPortmapper, 2, 4)
	if err != nil {
		return nil
	}
	fact := named("rpcbind")
	programs := rpcPrograms(body)
	detail(fact, "rpcbind.programs", strings.Join(rpcNames(programs), ","))
	mount := slices.IndexFunc(programs, func(p rpcProgram) bool {
		return p.number == rpcMount && p.protocol == 6 && p.version >= 1 && p.version <= 3 && p.port > 0 && p.port <= 65535
	})
	if mount >= 0 && t.prober.thorough {
		rpcExports(t, fact, programs[mount])
	}
	return fact
}

func rpcExports(t *talk, fact *modelv1.ServiceFact, mount rpcProgram) {
	conn, err := t.prober.dialPort(t.ctx, uint16(mount.port))
	if err != nil {
		return
	}
	other := &talk{line: newLine(t.ctx, conn, t.patience), prober: t.prober}
	defer t.done(other)
	body, err := other.rpc(rpcMount, mount.version, 5)
	if err != nil {
		return
	}
	exports := parseExports(rpcAccepted(body))
	var list []string
	for _, e := range exports {
		who := strings.Join(e.groups, ",")
		everybody := len(e.groups) == 0 || slices.Contains(e.groups, "*") || slices.Contains(e.groups, "0.0.0.0/0")
		if len(e.groups) == 0 {
			who = "everybody"
		}
		list = append(list, e.path+"("+who+")")
		if everybody && !fact.GetUnauthenticated() {
			proven(fact, "mountd at port "+net.JoinHostPort("", strconv.Itoa(int(mount.port)))[1:]+" exports "+e.path+" to everybody")
		}
	}
	detail(fact, "rpcbind.exports", strings.Join(list, " "))
}

// nfs calls the procedure that does nothing (RFC 1813 section 3.3.0).
func nfs(t *talk) *modelv1.ServiceFact {
	for _, version := range []uint32{3, 4} {
		body, err := t.rpc(rpcNFS, version, 0)
		if err != nil {
			return nil
		}
		if rpcAccepted(body) != nil || len(body) >= 24 && binary.BigEndian.Uint32(body[20:]) != 1 { // 1: no such program
			fact := named("nfs")
			detail(fact, "nfs.version", strconv.Itoa(int(version)))
			return fact
		}
	}
	return nil
}

// rpcProgram is one line of the table of programs.
type rpcProgram struct{ number, version, protocol, port uint32 }

// rpcPrograms reads a list of program, version, protocol and port, each behind a one.
func rpcPrograms(body []byte) []rpcProgram {
	var programs []rpcProgram
	for list := rpcAccepted(body); len(list) >= 20 && binary.BigEndian.Uint32(list) == 1 && len(programs) < 256; list = list[20:] {
		programs = append(programs, rpcProgram{
			binary.BigEndian.Uint32(list[4:]), binary.BigEndian.Uint32(list[8:]), binary.BigEndian.Uint32(list[12:]), binary.BigEndian.Uint32(list[16:]),
		})
	}
	return programs
}

// rpcNames are the programs, each once, at most 64.
func rpcNames(programs []rpcProgram) []string {
	known := map[uint32]string{rpcPortmapper: "portmapper", rpcNFS: "nfs", rpcMount: "mountd", 100021: "nlockmgr", 100024: "status", 100227: "nfs_acl"}
	var names []string
	for _, p := range programs {
		name := known[p.number]
		if name == "" {
			name = strconv.FormatUint(uint64(p.number), 10)
		}
		if !slices.Contains(names, name) && len(names) < 64 {
			names = append(names, name)
		}
	}
	return names
}

// export is a file system and who may mount it; nobody named means everybody.
type export struct {
	path   string
	groups []string
}

// parseExports reads a list of lists of texts in XDR, at most 32 exports of 16 groups.
func parseExports(data []byte) []export {
	word := func() uint32 {
		if len(data) < 4 {
			data = nil
			return 0
		}
		n := binary.BigEndian.Uint32(data)
		data = data[4:]
		return n
	}
	text := func() string {
		size := word()
		padded := (uint64(size) + 3) &^ 3
		if padded > uint64(len(data)) {
			data = nil
			return ""
		}
		value := string(data[:size])
		data = data[padded:]
		return value
	}
	var exports []export
	for word() == 1 && len(exports) < 32 {
		e := export{path: text()}
		for word() == 1 && data != nil {
			if group := text(); len(e.groups) < 16 {
				e.groups = append(e.groups, group)
			}
		}
		if data == nil {
			break // cut: who may is not known
		}
		exports = append(exports, e)
	}
	return exports
}
