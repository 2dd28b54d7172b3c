package service

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// ldapRootDSE searches for the entry that a server shows to everybody about itself (RFC 4512 section 5.1), and of it only
// the extensions and the vendor.
func ldapRootDSE() []byte {
	attributes := berSequence(0x30, berText(0x04, "supportedExtension"), berText(0x04, "vendorName"), berText(0x04, "vendorVersion"))
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

// ldap searches the root of the directory; nobody binds, and no entry of the directory is asked for.
func ldap(t *talk) *modelv1.ServiceFact {
	if t.send(ldapRootDSE()) != nil {
		return nil
	}
	t.gather(t.patience.step, func(rest []byte) bool {
		_, _, err := berElement(rest)
		return err == nil
	})
	t.collect() // the entry, and the end of the search behind it
	message, _, err := berElement(t.rest())
	if err != nil || t.rest()[0] != 0x30 {
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
	fact.Starttls = bytes.Contains(t.rest(), []byte(startTLS))
	detail(fact, "ldap.starttls", fmt.Sprint(fact.GetStarttls()))
	detail(fact, "ldap.vendor", ldapValue(t.rest(), "vendorName"))
	version := ldapValue(t.rest(), "vendorVersion")
	detail(fact, "ldap.version", version)
	fact.Version = safe(version, maxName)
	return fact
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

// smb negotiates a dialect of SMB 2 and 3 and, on another connection, asks for SMB 1 ([MS-SMB2] 2.2.3, [MS-CIFS] 2.2.4.52).
func smb(t *talk) *modelv1.ServiceFact {
	if t.send(smb2Negotiate()) != nil {
		return nil
	}
	body, err := t.netbios()
	if err != nil || len(body) < 64+8 || !bytes.HasPrefix(body, []byte("\xfeSMB")) {
		if bytes.HasPrefix(body, []byte("\xffSMB")) {
			fact := named("smb")
			detail(fact, "smb.v1", "true")
			return fact
		}
		if smb1Offered(t) { // knows nothing newer
			fact := named("smb")
			detail(fact, "smb.v1", "true")
			return fact
		}
		return nil
	}
	fact := named("smb")
	detail(fact, "smb.dialect", fmt.Sprintf("%x", binary.LittleEndian.Uint16(body[68:])))
	signing := "off"
	switch mode := binary.LittleEndian.Uint16(body[66:]); {
	case mode&2 != 0:
		signing = "required"
	case mode&1 != 0:
		signing = "enabled"
	}
	detail(fact, "smb.signing", signing)
	if smb1Offered(t) {
		detail(fact, "smb.v1", "true")
	}
	return fact
}

func smb2Negotiate() []byte {
	packet := make([]byte, 64+36)
	copy(packet, "\xfeSMB\x40\x00")
	body := packet[64:]
	body[0], body[2], body[4] = 36, 4, 1 // size of the structure, four dialects, signing enabled
	copy(body[12:28], "riskprofiler-id.")
	for _, dialect := range []uint16{0x0202, 0x0210, 0x0300, 0x0302} {
		packet = binary.LittleEndian.AppendUint16(packet, dialect)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)
}

// smb1Offered asks for nothing but NT LM 0.12.
func smb1Offered(t *talk) bool {
	other, err := t.another()
	if err != nil {
		return false
	}
	defer t.done(other)
	packet := make([]byte, 32)
	copy(packet, "\xffSMB\x72")
	packet[9], packet[10], packet[11] = 0x18, 0x01, 0x28
	packet = append(packet, 0, 12, 0)
	packet = append(packet, "\x02NT LM 0.12\x00"...)
	if other.send(append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...)) != nil {
		return false
	}
	body, err := other.netbios()
	// Words of the answer: the dialect, which is 0xffff where none was liked.
	return err == nil && len(body) >= 35 && bytes.HasPrefix(body, []byte("\xffSMB\x72")) && body[32] > 1 && binary.LittleEndian.Uint16(body[33:]) != 0xffff
}

// netbios reads one message of the session service over TCP ([MS-SMB2] 2.1).
func (t *talk) netbios() ([]byte, error) {
	head, err := t.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if head[0] != 0 || size > 32<<10 {
		return nil, errNotIt
	}
	return t.take(int(size))
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
