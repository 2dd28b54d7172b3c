package service

import (
	"bytes"
	"fmt"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ldapRootDSE searches for the entry that a server shows to everybody about itself (RFC 4512 section 5.1), and of it only
// the extensions, the vendor, what it holds and its kind.
func ldapRootDSE() []byte {
	var list [][]byte
	for _, name := range []string{"supportedExtension", "vendorName", "vendorVersion", "namingContexts", "dnsHostName", "objectClass"} {
		list = append(list, berText(0x04, name))
	}
	attributes := berSequence(0x30, list...)
	search := berSequence(0x63, // SearchRequest
		berText(0x04, ""),            // base: the root
		[]byte{0x0a, 1, 0},           // scope: the base alone
		[]byte{0x0a, 1, 0},           // no aliases
		[]byte{0x02, 1, 1},           // one entry
		[]byte{0x02, 1, 3},           // three seconds
		[]byte{0x01, 1, 0},           // values too
		berText(0x87, "objectClass"), // filter: present
		attributes)
	return berSequence(0x30, []byte{0x02, 1, 1}, search)
}

func berText(tag byte, text string) []byte { return append([]byte{tag, byte(len(text))}, text...) }

// berSequence wraps parts of together less than 128 bytes, or of less than 256.
func berSequence(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	if len(body) < 128 {
		return append([]byte{tag, byte(len(body))}, body...)
	}
	return append([]byte{tag, 0x81, byte(len(body))}, body...)
}

// startTLS is the name of the extension (RFC 4511 section 4.14.1).
const startTLS = "1.3.6.1.4.1.1466.20037"

// ldap searches the root of the directory and, where that names what the directory holds, for one entry below it without any of
// its attributes: that it is found without a bind is the proof.
func ldap(t *talk) *modelv1.ServiceFact {
	if t.send(ldapRootDSE()) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool {
		_, _, err := berElement(rest)
		return err == nil
	})
	t.collect() // the entry, and the end of the search behind it
	answer := t.rest()
	message, _, err := berElement(answer)
	if err != nil || answer[0] != 0x30 {
		return nil
	}
	id, operation, err := berElement(message)
	if err != nil || message[0] != 0x02 || !bytes.Equal(id, []byte{1}) || len(operation) == 0 {
		return nil
	}
	// SearchResultEntry, SearchResultDone.
	if operation[0] != 0x64 && operation[0] != 0x65 {
		return nil
	}
	fact := named("ldap")
	ldapDetails(fact, answer)
	if base := ldapValue(answer, "namingContexts"); base != "" && len(base) < 100 && t.prober.thorough {
		t.taken = len(t.raw)
		if t.send(ldapBelow(base)) == nil {
			t.gather(t.patience.step, func(rest []byte) bool {
				_, _, err := berElement(rest)
				return err == nil
			})
			if name := ldapEntry(t.rest()); name != "" {
				proven(fact, "search below "+base+" without a bind: found "+name)
			}
		}
	}
	return fact
}

// ldapDetails notes what the root says of the server.
func ldapDetails(fact *modelv1.ServiceFact, answer []byte) {
	fact.Starttls = bytes.Contains(answer, []byte(startTLS))
	detail(fact, "ldap.starttls", fmt.Sprint(fact.GetStarttls()))
	detail(fact, "ldap.vendor", ldapValue(answer, "vendorName"))
	version := ldapValue(answer, "vendorVersion")
	detail(fact, "ldap.version", version)
	detail(fact, "ldap.base", ldapValue(answer, "namingContexts"))
	host := ldapValue(answer, "dnsHostName")
	detail(fact, "ldap.host", host)
	switch lower := strings.ToLower(version); {
	case strings.HasPrefix(lower, "389-directory/"):
		setProduct(fact, "389 Directory Server", "port389", "389-ds-base", versionAfter(lower, "389-directory/"))
	case bytes.Contains(answer, []byte("OpenLDAProotDSE")):
		setProduct(fact, "OpenLDAP", "openldap", "openldap", "")
	case host != "":
		setProduct(fact, "Microsoft Active Directory", "", "", "")
	default:
		fact.Version = safe(version, maxName)
	}
}

// ldapBelow searches one level below base for one entry and none of its attributes ("1.1", RFC 4511 section 4.5.1.8).
func ldapBelow(base string) []byte {
	search := berSequence(0x63, berText(0x04, base), []byte{0x0a, 1, 1}, []byte{0x0a, 1, 0}, []byte{0x02, 1, 1}, []byte{0x02, 1, 3}, []byte{0x01, 1, 0},
		berText(0x87, "objectClass"), berSequence(0x30, berText(0x04, "1.1")))
	return berSequence(0x30, []byte{0x02, 1, 2}, search)
}

// ldapEntry reads the name of the entry that was found.
func ldapEntry(answer []byte) string {
	outer := &elements{answer}
	message, ok := outer.into(tagSequence)
	if !ok || !message.skip(1) {
		return ""
	}
	entry, ok := message.into(0x64)
	if !ok {
		return ""
	}
	_, name, _ := entry.next()
	return string(name)
}

// berElement divides an element of BER into its content and what follows (X.690): short and long lengths up to four bytes.
func berElement(data []byte) (content, rest []byte, err error) {
	if len(data) < 2 {
		return nil, nil, errNotIt
	}
	size, begin := uint64(data[1]), 2
	if data[1] >= 0x80 {
		digits := int(data[1] & 0x7f)
		if digits == 0 || digits > 4 || len(data) < 2+digits {
			return nil, nil, errNotIt
		}
		size = 0
		for _, b := range data[2 : 2+digits] {
			size = size<<8 | uint64(b)
		}
		begin += digits
	}
	if size > uint64(len(data)-begin) {
		return nil, nil, errNotIt
	}
	end := begin + int(size)
	return data[begin:end], data[end:], nil
}

// ldapValue reads the first value of an attribute: its name as a text, then a set whose first element is a text.
func ldapValue(data []byte, name string) string {
	_, after, found := bytes.Cut(data, berText(0x04, name))
	if !found {
		return ""
	}
	set, _, err := berElement(after)
	if err != nil || after[0] != 0x31 || len(set) == 0 || set[0] != 0x04 {
		return ""
	}
	value, _, err := berElement(set)
	if err != nil {
		return ""
	}
	return string(value)
}

// maxModules bounds the modules of an rsync daemon that are tried.
const maxModules = 3

// rsync lists the modules, and asks for some of them: that one opens without a password is the proof. No file is listed.
func rsync(t *talk) *modelv1.ServiceFact {
	banner, err := t.text()
	if err != nil || !strings.HasPrefix(banner, "@RSYNCD: ") {
		return nil
	}
	fact := named("rsync")
	fact.Banner = safe(banner, maxBanner)
	detail(fact, "rsync.protocol", strings.TrimPrefix(banner, "@RSYNCD: "))
	setProduct(fact, "rsync", "samba", "rsync", "")
	if t.send([]byte("@RSYNCD: 30.0\n#list\n")) != nil {
		return fact
	}
	var modules []string
	for len(modules) < 64 {
		text, err := t.text()
		if err != nil || strings.HasPrefix(text, "@RSYNCD: EXIT") || strings.HasPrefix(text, "@ERROR") {
			break
		}
		// Lines without a tab are the message of the day.
		if name, _, found := strings.Cut(text, "\t"); found {
			modules = append(modules, strings.TrimSpace(name))
		}
	}
	detail(fact, "rsync.modules", strings.Join(modules, ","))
	for _, module := range modules[:min(len(modules), maxModules)] {
		if rsyncOpens(t, module) {
			proven(fact, "module "+module+" opens without a password")
			break
		}
	}
	return fact
}

func rsyncOpens(t *talk, module string) bool {
	if module == "" || strings.ContainsAny(module, "\r\n") {
		return false
	}
	other, err := t.another()
	if err != nil {
		return false
	}
	defer t.done(other)
	if _, err := other.text(); err != nil || other.send([]byte("@RSYNCD: 30.0\n"+module+"\n")) != nil {
		return false
	}
	for range 50 { // the message of the day comes first
		text, err := other.text()
		if err != nil || strings.HasPrefix(text, "@RSYNCD: AUTHREQD") || strings.HasPrefix(text, "@ERROR") {
			return false
		}
		if strings.HasPrefix(text, "@RSYNCD: OK") {
			return true
		}
	}
	return false
}
