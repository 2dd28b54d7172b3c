package service

import (
	"bytes"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Commands of telnet (RFC 854).
const (
	telnetSB   = 250
	telnetSE   = 240
	telnetWill = 251
	telnetWont = 252
	telnetDo   = 253
	telnetDont = 254
)

// telnet refuses every option that the server speaks of, and reads what it then shows to people.
func telnet(t *talk) *modelv1.ServiceFact {
	fact := named("telnet")
	for range 3 { // some negotiate for several rounds before they show a prompt
		text, refusal := splitTelnet(t.rest())
		if len(refusal) == 0 || bytes.Contains(bytes.ToLower(text), []byte("login:")) {
			break
		}
		t.taken = len(t.raw)
		if t.send(refusal) != nil || !t.more(t.patience.gap) {
			break
		}
		t.collect()
	}
	text, _ := splitTelnet(t.raw)
	fact.Banner = safe(string(text), maxBanner)
	return fact
}

// splitTelnet divides what a server sent into text and the answer to its commands: no to every WILL and DO.
func splitTelnet(data []byte) (text, refusal []byte) {
	for i := 0; i < len(data); {
		if data[i] != iac {
			text = append(text, data[i])
			i++
			continue
		}
		if i+1 >= len(data) {
			break
		}
		switch command := data[i+1]; command {
		case telnetWill, telnetWont, telnetDo, telnetDont:
			if i+2 < len(data) && command == telnetWill {
				refusal = append(refusal, iac, telnetDont, data[i+2])
			}
			if i+2 < len(data) && command == telnetDo {
				refusal = append(refusal, iac, telnetWont, data[i+2])
			}
			i += 3
		case telnetSB:
			end := bytes.Index(data[i:], []byte{iac, telnetSE})
			if end < 0 {
				return text, refusal
			}
			i += end + 2
		case iac:
			text = append(text, iac)
			i += 2
		default:
			i += 2
		}
	}
	return text, refusal
}
