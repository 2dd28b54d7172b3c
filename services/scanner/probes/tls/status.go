package tls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"time"

	"golang.org/x/crypto/ocsp"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Extensions with lists of signed certificate timestamps: of a certificate, and of an OCSP response (RFC 6962 section 3.3).
var (
	oidSCTList     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidSCTListOCSP = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}
)

// Words of Sct.source.
const (
	sctCertificate = "certificate"
	sctTLS         = "tls"
	sctOCSP        = "ocsp"
)

// readSCT reads one timestamp of version 1 (RFC 6962 section 3.2); nil if it is none. Its signature is not checked: that needs
// the keys of all logs, and a browser will do it.
func readSCT(raw []byte, source string) *modelv1.Sct {
	in := cursor{rest: raw}
	version := in.uint8()
	log := in.bytes(32)
	stampBytes := in.bytes(8)
	if in.short || version != 0 {
		return nil
	}
	milliseconds := binary.BigEndian.Uint64(stampBytes)
	if milliseconds > 1<<53 {
		return nil
	}
	return &modelv1.Sct{LogId: hex.EncodeToString(log), Time: stamp(time.UnixMilli(int64(milliseconds))), Source: source}
}

// embeddedSCTs are the timestamps inside the certificate.
func (c certificate) embeddedSCTs() [][]byte {
	if c.parsed == nil {
		return nil
	}
	return sctsOf(c.parsed.Extensions, oidSCTList)
}

func sctsOf(extensions []pkix.Extension, id asn1.ObjectIdentifier) [][]byte {
	for _, e := range extensions {
		var list []byte
		if !e.Id.Equal(id) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &list); err == nil {
			return splitSCTs(list)
		}
	}
	return nil
}

// readStaple reads an OCSP response about leaf. The issuer may be nil, if it was not sent; then nothing is verified. It returns
// the timestamps that came with it.
func readStaple(raw []byte, leaf, issuer *x509.Certificate) (*modelv1.OcspStaple, [][]byte) {
	if issuer != nil && (certificate{parsed: issuer}).heavy() {
		issuer = nil
	}
	response, err := ocsp.ParseResponseForCert(raw, leaf, issuer)
	if err != nil || response == nil {
		return &modelv1.OcspStaple{Status: "unreadable"}, nil
	}
	out := &modelv1.OcspStaple{
		ThisUpdate: stamp(response.ThisUpdate), Verified: issuer != nil && leaf != nil && response.SerialNumber.Cmp(leaf.SerialNumber) == 0,
	}
	if !response.NextUpdate.IsZero() {
		out.NextUpdate = stamp(response.NextUpdate)
	}
	switch response.Status {
	case ocsp.Good:
		out.Status = "good"
	case ocsp.Revoked:
		out.Status, out.RevokedAt = "revoked", stamp(response.RevokedAt)
	default:
		out.Status = "unknown"
	}
	return out, sctsOf(response.Extensions, oidSCTListOCSP)
}
