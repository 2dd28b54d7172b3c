package service

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ownName is what we call ourselves where a protocol asks; .invalid is nobody's (RFC 2606).
const ownName = "riskprofiler.invalid"

// reply reads one reply of FTP or SMTP with all its lines: the code, and the text of each line.
func (t *talk) reply() (code string, lines []string, err error) {
	for {
		text, err := t.text()
		if err != nil {
			return "", nil, err
		}
		if !isReply([]byte(text + " ")) {
			if code == "" {
				return "", nil, errNotIt
			}
			lines = append(lines, text) // FTP lets lines in the middle begin as they like
			if len(lines) > 200 {
				return "", nil, errTooLong
			}
			continue
		}
		if code == "" {
			code = text[:3]
		}
		lines = append(lines, strings.TrimSpace(text[min(4, len(text)):]))
		if len(lines) > 200 {
			return "", nil, errTooLong
		}
		if (len(text) == 3 || text[3] == ' ') && text[:3] == code {
			return code, lines, nil
		}
	}
}

// command sends a command and reads its reply.
func (t *talk) command(text string) (code string, lines []string, err error) {
	if err := t.send([]byte(text + "\r\n")); err != nil {
		return "", nil, err
	}
	return t.reply()
}

// smtp asks for the extensions (RFC 5321 section 4.1.1.1). No mail is sent.
func smtp(t *talk) *modelv1.ServiceFact {
	code, greeting, err := t.reply()
	if err != nil {
		return nil
	}
	fact := named("smtp")
	fact.Banner = safe(code+" "+strings.Join(greeting, " "), maxBanner)
	nameProduct(fact, strings.Join(greeting, " "), mailProducts)
	if code != "220" {
		return fact // it does not want to talk, in words of SMTP
	}
	code, lines, err := t.command("EHLO " + ownName)
	if err != nil {
		return fact
	}
	if code == "250" {
		extensions := strings.Join(lines[1:], ",")
		detail(fact, "smtp.extensions", extensions)
		fact.Starttls = hasWord(lines, "STARTTLS")
		if t.prober.thorough {
			smtpRelay(t, fact)
		}
	}
	_ = t.send([]byte("QUIT\r\n"))
	return fact
}

// smtpRelay asks whether a stranger may send mail to a domain that is nobody's (RFC 6761 section 6.4), from no sender, as bounces are. No
// mail is sent: it takes the question back. Who takes such a recipient takes any.
func smtpRelay(t *talk, fact *modelv1.ServiceFact) {
	if code, _, err := t.command("MAIL FROM:<>"); err != nil || code != "250" {
		return
	}
	code, lines, err := t.command("RCPT TO:<scan@" + relayDomain + ">")
	if err != nil {
		return
	}
	if code == "250" || code == "251" {
		proven(fact, "RCPT TO:<scan@"+relayDomain+"> from a stranger: "+code+" "+strings.Join(lines, " "))
		detail(fact, "smtp.relay", "open")
	} else {
		detail(fact, "smtp.relay", "refused")
	}
	_, _, _ = t.command("RSET")
}

// relayDomain is nobody's (RFC 2606).
const relayDomain = "relay-test.example.invalid"

// pop3 asks for the capabilities (RFC 2449).
func pop3(t *talk) *modelv1.ServiceFact {
	greeting, err := t.text()
	if err != nil || !strings.HasPrefix(greeting, "+OK") {
		return nil
	}
	fact := named("pop3")
	fact.Banner = safe(greeting, maxBanner)
	nameProduct(fact, greeting, mailProducts)
	if answer, err := t.ask("CAPA"); err == nil && strings.HasPrefix(answer, "+OK") {
		capabilities := t.untilDot()
		detail(fact, "pop3.capabilities", strings.Join(capabilities, ","))
		fact.Starttls = hasWord(capabilities, "STLS")
	}
	_ = t.send([]byte("QUIT\r\n"))
	return fact
}

// untilDot reads the lines of a POP3 answer, up to the one that is a dot.
func (t *talk) untilDot() []string {
	var lines []string
	for len(lines) < 200 {
		text, err := t.text()
		if err != nil || text == "." {
			break
		}
		lines = append(lines, text)
	}
	return lines
}

// imap asks for the capabilities (RFC 9051 section 6.1.1).
func imap(t *talk) *modelv1.ServiceFact {
	greeting, err := t.text()
	if err != nil || !strings.HasPrefix(greeting, "* ") {
		return nil
	}
	fact := named("imap")
	fact.Banner = safe(greeting, maxBanner)
	nameProduct(fact, greeting, mailProducts)
	if err := t.send([]byte("a1 CAPABILITY\r\n")); err != nil {
		return fact
	}
	for range 20 {
		text, err := t.text()
		if err != nil || strings.HasPrefix(text, "a1 ") {
			break
		}
		if capabilities, found := strings.CutPrefix(strings.ToUpper(text), "* CAPABILITY "); found {
			detail(fact, "imap.capabilities", capabilities)
			fact.Starttls = hasWord(strings.Fields(capabilities), "STARTTLS")
		}
	}
	_ = t.send([]byte("a2 LOGOUT\r\n"))
	return fact
}

// hasWord says whether one of the lines is, or begins with, the word.
func hasWord(lines []string, word string) bool {
	for _, text := range lines {
		first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
		if strings.EqualFold(first, word) {
			return true
		}
	}
	return false
}
