package service

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

const (
	maxName    = 64  // runes of a product or version
	maxDetail  = 512 // runes of one detail
	maxDetails = 32
	maxBanner  = 1024 // runes of a banner
)

// product is a name that software gives itself, and its name in the CPE dictionary.
type product struct {
	mark    string // what the text contains, in lower case
	name    string
	vendor  string // CPE vendor and product; empty: not in the dictionary
	product string
	version string // what stands before the version, in lower case; empty: the text does not tell
}

// Marks are compared in this order. CPE names are those of the NVD's dictionary (https://nvd.nist.gov/products/cpe).
var (
	sshProducts = []product{
		{"openssh_for_windows", "OpenSSH for Windows", "openbsd", "openssh", "openssh_for_windows_"},
		{"openssh", "OpenSSH", "openbsd", "openssh", "openssh_"},
		{"dropbear", "Dropbear SSH", "dropbear_ssh_project", "dropbear_ssh", "dropbear_"},
		{"libssh", "libssh", "libssh", "libssh", "libssh_"},
		{"rosssh", "MikroTik RouterOS SSH", "mikrotik", "routeros", ""},
		{"cisco-", "Cisco SSH", "", "", "cisco-"},
		{"wolfssh", "wolfSSH", "wolfssh", "wolfssh", "wolfsshv"},
		{"paramiko", "Paramiko", "paramiko", "paramiko", "paramiko_"},
		{"apache-sshd", "Apache MINA SSHD", "apache", "sshd", "apache-sshd-"},
		{"mod_sftp", "ProFTPD mod_sftp", "proftpd", "proftpd", ""},
	}
	ftpProducts = []product{
		{"vsftpd", "vsftpd", "vsftpd_project", "vsftpd", "vsftpd "},
		{"proftpd", "ProFTPD", "proftpd", "proftpd", "proftpd "},
		{"pure-ftpd", "Pure-FTPd", "pureftpd", "pure-ftpd", ""},
		{"filezilla server", "FileZilla Server", "filezilla-project", "filezilla_server", "filezilla server "},
		{"microsoft ftp service", "Microsoft FTP Service", "microsoft", "internet_information_services", ""},
		{"wu-ftpd", "WU-FTPD", "", "", "wu-"},
		{"serv-u", "Serv-U", "solarwinds", "serv-u", "serv-u ftp server v"},
		{"wing ftp", "Wing FTP Server", "wftpserver", "wing_ftp_server", ""},
		{"pyftpdlib", "pyftpdlib", "", "", "pyftpdlib "},
	}
	mailProducts = []product{
		{"postfix", "Postfix", "postfix", "postfix", ""},
		{"exim", "Exim", "exim", "exim", "exim "},
		{"sendmail", "Sendmail", "proofpoint", "sendmail", "sendmail "},
		{"microsoft esmtp mail service", "Microsoft Exchange", "microsoft", "exchange_server", ""},
		{"microsoft exchange", "Microsoft Exchange", "microsoft", "exchange_server", ""},
		{"opensmtpd", "OpenSMTPD", "openbsd", "opensmtpd", ""},
		{"haraka", "Haraka", "haraka_project", "haraka", "haraka/"},
		{"mailenable", "MailEnable", "mailenable", "mailenable", ""},
		{"hmailserver", "hMailServer", "hmailserver", "hmailserver", ""},
		{"zimbra", "Zimbra", "zimbra", "collaboration", ""},
		{"dovecot", "Dovecot", "dovecot", "dovecot", ""},
		{"courier", "Courier", "double_precision_incorporated", "courier-imap", ""},
		{"cyrus", "Cyrus IMAP", "cyrus", "imap", "cyrus imap v"},
	}
	webProducts = []product{
		{"openresty", "OpenResty", "openresty", "openresty", "openresty/"},
		{"tengine", "Tengine", "alibaba", "tengine", "tengine/"},
		{"nginx", "nginx", "f5", "nginx", "nginx/"},
		{"apache-coyote", "Apache Tomcat", "apache", "tomcat", ""},
		{"tomcat", "Apache Tomcat", "apache", "tomcat", "tomcat/"},
		{"apache", "Apache HTTP Server", "apache", "http_server", "apache/"},
		{"microsoft-iis", "Microsoft IIS", "microsoft", "internet_information_services", "microsoft-iis/"},
		{"microsoft-httpapi", "Microsoft HTTPAPI", "", "", "microsoft-httpapi/"},
		{"lighttpd", "lighttpd", "lighttpd", "lighttpd", "lighttpd/"},
		{"litespeed", "LiteSpeed", "litespeedtech", "litespeed_web_server", ""},
		{"caddy", "Caddy", "caddyserver", "caddy", ""},
		{"jetty", "Eclipse Jetty", "eclipse", "jetty", "jetty("},
		{"gunicorn", "Gunicorn", "gunicorn", "gunicorn", "gunicorn/"},
		{"werkzeug", "Werkzeug", "palletsprojects", "werkzeug", "werkzeug/"},
		{"uvicorn", "Uvicorn", "encode", "uvicorn", ""},
		{"simplehttp", "Python http.server", "python", "python", "python/"},
		{"tornadoserver", "Tornado", "tornadoweb", "tornado", "tornadoserver/"},
		{"envoy", "Envoy", "envoyproxy", "envoy", ""},
		{"kestrel", "Kestrel", "microsoft", "asp.net_core", ""},
		{"cowboy", "Cowboy", "ninenines", "cowboy", ""},
		{"boa", "Boa", "boa", "boa", "boa/"},
		{"goahead", "GoAhead", "embedthis", "goahead", ""},
		{"mini_httpd", "mini_httpd", "acme", "mini_httpd", "mini_httpd/"},
		{"micro_httpd", "micro_httpd", "acme", "micro_httpd", ""},
		{"rompager", "RomPager", "allegrosoft", "rompager", "rompager/"},
		{"squid", "Squid", "squid-cache", "squid", "squid/"},
	}
)

// name fills in the product that text speaks of.
func nameProduct(fact *modelv1.ServiceFact, text string, known []product) {
	lower := strings.ToLower(text)
	for _, p := range known {
		if !strings.Contains(lower, p.mark) {
			continue
		}
		version := ""
		if p.version != "" {
			version = versionAfter(lower, p.version)
		}
		setProduct(fact, p.name, p.vendor, p.product, version)
		// Many put their distribution in brackets: "Apache/2.4.52 (Ubuntu)". That of a package's own revision is noted apart.
		if fact.GetDistribution() == "" {
			setPackage(fact, p.product, text, "")
			systemIn(fact, text)
		}
		return
	}
}

// setProduct fills in product, version and CPE. The version may be text of the target; vendor and name are ours.
func setProduct(fact *modelv1.ServiceFact, name, vendor, cpeName, version string) {
	fact.Product = name
	fact.Version = probes.SafeString(version, maxName)
	fact.Cpe = nil
	if vendor != "" {
		fact.Cpe = []string{cpe(vendor, cpeName, fact.GetVersion())}
	}
}

// versionAfter reads the version that stands behind mark: it begins with a digit and holds no white space.
func versionAfter(lower, mark string) string {
	_, text, found := strings.Cut(lower, mark)
	if !found || text == "" || text[0] < '0' || text[0] > '9' {
		return ""
	}
	end := strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '.' && r != '-' && r != '_' && r != '+' && r != '~'
	})
	if end >= 0 {
		text = text[:end]
	}
	return strings.TrimRight(text[:min(len(text), maxName)], ".-_+~")
}

// cpe writes a CPE 2.3 name (NISTIR 7695) of an application. OpenSSH's "p1" is an update there, as the dictionary has it.
func cpe(vendor, product, version string) string {
	update := ""
	if product == "openssh" {
		if base, patch, found := strings.Cut(version, "p"); found && patch != "" {
			version, update = base, "p"+patch
		}
	}
	return "cpe:2.3:a:" + cpePart(vendor) + ":" + cpePart(product) + ":" + cpePart(version) + ":" + cpePart(update) + ":*:*:*:*:*:*"
}

// cpePart writes one component: lower case, everything but letters, digits, "_", "-" and "." quoted.
func cpePart(text string) string {
	if text == "" {
		return "*"
	}
	var part strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			part.WriteRune(r)
		case r > ' ' && r < 0x7f:
			part.WriteByte('\\')
			part.WriteRune(r)
		default:
			part.WriteByte('_')
		}
	}
	return part.String()
}

// detail notes something more about the service. Values are the target's words and are made safe.
func detail(fact *modelv1.ServiceFact, name, value string) {
	value = probes.SafeString(value, maxDetail)
	if value == "" || len(fact.GetDetails()) >= maxDetails {
		return
	}
	if fact.Details == nil {
		fact.Details = make(map[string]string)
	}
	fact.Details[name] = value
}

// proven notes that anybody may use the service, and how that was proven.
func proven(fact *modelv1.ServiceFact, proof string) {
	fact.Unauthenticated, fact.Proof = true, probes.SafeString(proof, maxDetail)
}

// safe is probes.SafeString.
func safe(text string, maxRunes int) string { return probes.SafeString(text, maxRunes) }
