package netguard

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// records are the records of one message that can matter to one question.
type records struct {
	aliases map[string]string
	addrs   map[string][]netip.Addr
	texts   map[string][]string
}

// readAnswer reads what message says about name. It follows the aliases inside the message from
// name on, at most hops of them, and takes only records of the name at the end: what a server adds
// about other names is nobody's answer.
func readAnswer(message []byte, name string, kind dnsmessage.Type, hops int) (answer, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	if err != nil {
		return answer{}, err
	}
	switch header.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return answer{}, fault.NotFound
	default:
		return answer{}, errors.New("the resolver answers " + header.RCode.String())
	}
	if header.Truncated {
		return answer{}, errors.New("the answer is cut off")
	}
	if err := parser.SkipAllQuestions(); err != nil {
		return answer{}, err
	}
	found, err := readRecords(&parser, kind)
	if err != nil {
		return answer{}, err
	}
	out := answer{final: name}
	for {
		next, more := found.aliases[out.final]
		if !more {
			break
		}
		if out.hops++; out.hops > hops {
			return answer{}, errors.New("the alias chain is too long")
		}
		out.final = next
	}
	out.addrs, out.texts = found.addrs[out.final], found.texts[out.final]
	return out, nil
}

func readRecords(parser *dnsmessage.Parser, kind dnsmessage.Type) (records, error) {
	out := records{map[string]string{}, map[string][]netip.Addr{}, map[string][]string{}}
	for range maxAnswers {
		header, err := parser.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		wanted := header.Class == dnsmessage.ClassINET && (header.Type == kind || header.Type == dnsmessage.TypeCNAME)
		if !wanted {
			err = parser.SkipAnswer()
		} else {
			err = out.read(parser, fold(header.Name), header.Type)
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *records) read(parser *dnsmessage.Parser, owner string, kind dnsmessage.Type) error {
	switch kind {
	case dnsmessage.TypeA:
		body, err := parser.AResource()
		r.addAddr(owner, netip.AddrFrom4(body.A), err)
		return err
	case dnsmessage.TypeAAAA:
		body, err := parser.AAAAResource()
		r.addAddr(owner, netip.AddrFrom16(body.AAAA), err)
		return err
	case dnsmessage.TypeTXT:
		body, err := parser.TXTResource()
		if err == nil && len(r.texts[owner]) < MaxRecords {
			r.texts[owner] = append(r.texts[owner], strings.Join(body.TXT, ""))
		}
		return err
	default: // CNAME; the first of several counts, a name may only have one (RFC 1034 3.6.2)
		body, err := parser.CNAMEResource()
		if _, known := r.aliases[owner]; err == nil && !known {
			r.aliases[owner] = fold(body.CNAME)
		}
		return err
	}
}

func (r *records) addAddr(owner string, addr netip.Addr, err error) {
	if err == nil && len(r.addrs[owner]) < MaxRecords {
		r.addrs[owner] = append(r.addrs[owner], addr)
	}
}
