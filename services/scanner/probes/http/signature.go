package http

import (
	"bytes"
	nethttp "net/http"
	"strings"
)

// maxSignature is how much of a body is searched for signatures: default pages and panels say who they are at the top.
const maxSignature = 128 << 10

// recognise returns the name of the first signature that fits the answer, "" if none does.
func recognise(list []signature, answer *reply, title string) string {
	return recogniseIn(list, answer, title).Name
}

// recogniseIn returns the first signature that fits the answer, the zero one if none does.
func recogniseIn(list []signature, answer *reply, title string) signature {
	title = strings.ToLower(title)
	body := bytes.ToLower(answer.body[:min(len(answer.body), maxSignature)])
	realm := ""
	if answer.status == nethttp.StatusUnauthorized {
		realm = strings.ToLower(strings.Join(answer.header.Values("Www-Authenticate"), " "))
	}
	for _, s := range list {
		if s.fits(title, body, realm) {
			return s
		}
	}
	return signature{}
}

func (s signature) fits(title string, body []byte, realm string) bool {
	if s.Title != "" && (!strings.HasPrefix(title, s.Title) || s.Whole && title != s.Title) {
		return false
	}
	if s.Realm != "" && !strings.Contains(realm, s.Realm) {
		return false
	}
	for _, text := range s.Body {
		if !bytes.Contains(body, []byte(text)) {
			return false
		}
	}
	return true
}

// class is the kind of exposure that the page is.
func (s signature) class() string {
	if s.Kind == "" {
		return "panel"
	}
	return s.Kind
}
