package service

import (
	"bytes"
	"encoding/binary"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// iac begins a telnet command (RFC 854).
const iac = 0xff

// greetingComplete says whether what a service said unasked is all that is needed to go on.
func greetingComplete(said []byte) bool {
	if len(said) == 0 {
		return false
	}
	if said[0] == iac {
		return len(said) >= 3
	}
	if size, ok := mysqlPacketSize(said); ok {
		return len(said) >= size
	}
	if isOpenWire(said) {
		return uint64(len(said)) >= 4+uint64(binary.BigEndian.Uint32(said))
	}
	if !bytes.HasSuffix(said, []byte("\n")) {
		return false
	}
	// Replies of FTP and SMTP go on after "220-" (RFC 959 section 4.2, RFC 5321 section 4.2.1).
	lines := bytes.Split(bytes.TrimRight(said, "\r\n"), []byte("\n"))
	last := lines[len(lines)-1]
	return !isReply(said) || isReply(last) && last[3] != '-'
}

// isReply says whether text begins like a reply of FTP or SMTP: three digits, then a space or a hyphen.
func isReply(text []byte) bool {
	return len(text) >= 4 && text[0] >= '1' && text[0] <= '5' && isDigit(text[1]) && isDigit(text[2]) && (text[3] == ' ' || text[3] == '-')
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// mayGoOn says whether more may follow a greeting that seems complete: text for people does, in pieces. The greetings of
// protocols that are told by their first word do not, or only where they are asked on.
func mayGoOn(said []byte) bool {
	for _, word := range []string{"SSH-", "RFB ", "@RSYNCD:", "+OK", "* ", "INFO {", sieveGreeting} {
		if bytes.HasPrefix(said, []byte(word)) {
			return false
		}
	}
	return said[0] == iac || bytes.HasSuffix(said, []byte("\n")) && !isReply(said)
}

// greet goes on with a service that spoke first; nil where the greeting is nobody's.
func greet(t *talk) *modelv1.ServiceFact {
	said := t.rest()
	text := string(said[:min(len(said), 1024)])
	lower := strings.ToLower(text)
	switch {
	case strings.HasPrefix(text, "SSH-"):
		return ssh(t)
	case strings.HasPrefix(text, "RFB "):
		return vnc(t)
	case strings.HasPrefix(text, "@RSYNCD:"):
		return rsync(t)
	case strings.HasPrefix(text, "+OK"):
		return pop3(t)
	case strings.HasPrefix(text, "* OK"), strings.HasPrefix(text, "* PREAUTH"), strings.HasPrefix(text, "* BYE"):
		return imap(t)
	case strings.HasPrefix(text, "-DENIED"), strings.HasPrefix(text, "-NOAUTH"):
		return redisRefusal(text)
	case strings.HasPrefix(text, "INFO {"):
		return nats(t)
	case strings.HasPrefix(text, "( success ( "):
		return named("svn")
	case strings.HasPrefix(text, sieveGreeting):
		return sieve(t)
	case isOpenWire(said):
		return openWire(t)
	case strings.HasPrefix(text, "HTTP/"):
		t.hint = "http"
		return nil
	case isReply(said):
		return replyGreeting(t, lower)
	case said[0] == iac, strings.Contains(lower, "login:"), strings.Contains(lower, "username:"):
		return telnet(t)
	case strings.HasPrefix(text, ":") && strings.Contains(text, " NOTICE "), strings.HasPrefix(text, "NOTICE AUTH"):
		return named("irc")
	}
	return mysql(t)
}

// replyGreeting tells FTP, SMTP and NNTP apart, whose greetings all begin with a number.
func replyGreeting(t *talk, lower string) *modelv1.ServiceFact {
	switch {
	case strings.HasPrefix(lower, "220 vmware authentication daemon"):
		fact := named("vmware-auth")
		setProduct(fact, "VMware Authentication Daemon", "vmware", "esxi", "")
		fact.Cpe = nil // its version is not that of ESXi
		return fact
	case strings.HasPrefix(lower, "200 ") || strings.HasPrefix(lower, "201 "):
		if strings.Contains(lower, "nntp") || strings.Contains(lower, "news") || t.prober.port == 119 {
			return nntp(t)
		}
		return nil
	case strings.Contains(lower, "ftp"):
		return ftp(t)
	case strings.Contains(lower, "smtp"), strings.Contains(lower, "mail"), usualMailPort(t.prober.port):
		return smtp(t)
	case t.prober.port == 21 || t.prober.port == 990 || t.prober.port == 2121:
		return ftp(t)
	}
	return replyUnnamed(t)
}

// replyUnnamed asks a service that greeted like FTP or SMTP without saying which: only SMTP knows EHLO.
func replyUnnamed(t *talk) *modelv1.ServiceFact {
	if fact := smtp(t); fact != nil && fact.GetDetails()["smtp.extensions"] != "" {
		return fact
	}
	other, err := t.another()
	if err != nil {
		return nil
	}
	defer t.done(other)
	other.gather(other.patience.banner, greetingComplete)
	if !isReply(other.rest()) {
		return nil
	}
	return ftp(other)
}

func usualMailPort(port uint16) bool {
	return port == 25 || port == 26 || port == 465 || port == 587 || port == 2525
}
