package service

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ftp asks for the features (RFC 2389) and tries the anonymous login that public servers invite to (RFC 1635). What proves
// it is the name of the directory; no file is listed, read or written.
func ftp(t *talk) *modelv1.ServiceFact {
	code, greeting, err := t.reply()
	if err != nil {
		return nil
	}
	fact := named("ftp")
	fact.Banner = safe(code+" "+strings.Join(greeting, " "), maxBanner)
	nameProduct(fact, strings.Join(greeting, " "), ftpProducts)
	if code != "220" {
		return fact
	}
	code, features, err := t.command("FEAT")
	if err != nil {
		return fact
	}
	if code == "211" {
		for _, feature := range features {
			upper := strings.ToUpper(strings.TrimSpace(feature))
			fact.Starttls = fact.GetStarttls() || strings.HasPrefix(upper, "AUTH") && strings.Contains(upper, "TLS")
		}
		detail(fact, "ftp.features", strings.Join(features, ","))
	}
	ftpAnonymous(t, fact)
	if !fact.GetStarttls() {
		// Old servers have AUTH without FEAT. Last, because the server then waits for a handshake (RFC 4217 section 4).
		if code, _, err := t.command("AUTH TLS"); err == nil && code == "234" {
			fact.Starttls = true
			return fact
		}
	}
	_ = t.send([]byte("QUIT\r\n"))
	return fact
}

func ftpAnonymous(t *talk, fact *modelv1.ServiceFact) {
	code, _, err := t.command("USER anonymous")
	if err == nil && code == "331" {
		code, _, err = t.command("PASS " + "scan@" + ownName)
	}
	if err != nil || code != "230" {
		return
	}
	directory, lines, err := t.command("PWD")
	if err != nil || directory != "257" {
		return
	}
	proven(fact, "login as anonymous: 230; PWD: 257 "+strings.Join(lines, " "))
}
