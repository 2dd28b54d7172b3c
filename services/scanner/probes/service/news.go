package service

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// nntp asks for the capabilities (RFC 3977 section 5.2), TLS among them (RFC 4642 section 2.1).
func nntp(t *talk) *modelv1.ServiceFact {
	greeting, err := t.text()
	if err != nil {
		return nil
	}
	fact := named("nntp")
	fact.Banner = safe(greeting, maxBanner)
	if answer, err := t.ask("CAPABILITIES"); err == nil && strings.HasPrefix(answer, "101") {
		capabilities := t.untilDot()
		detail(fact, "nntp.capabilities", strings.Join(capabilities, ","))
		fact.Starttls = hasWord(capabilities, "STARTTLS")
	}
	_ = t.send([]byte("QUIT\r\n"))
	return fact
}

// sieveGreeting is how a server of ManageSieve begins (RFC 5804 section 1.8: the capability that every server lists; Dovecot,
// Cyrus and Pigeonhole list it first).
const sieveGreeting = `"IMPLEMENTATION"`

// sieve reads the capabilities, which ManageSieve greets with (RFC 5804 section 1.7), up to the line that begins with OK.
func sieve(t *talk) *modelv1.ServiceFact {
	fact := named("sieve")
	for range 100 {
		text, err := t.text()
		if err != nil {
			break
		}
		name, value, _ := strings.Cut(text, " ")
		switch strings.ToUpper(name) {
		case sieveGreeting:
			fact.Banner = safe(text, maxBanner)
			nameProduct(fact, value, mailProducts)
		case `"STARTTLS"`:
			fact.Starttls = true
		case "OK", "NO", "BYE":
			_ = t.send([]byte("LOGOUT\r\n"))
			return fact
		}
	}
	return fact
}
