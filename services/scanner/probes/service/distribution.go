package service

import (
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// Distributions mend flaws without changing the version of the software, so what a banner tells of the distribution's own
// package decides whether a known flaw is there. Names are those of OSV's ecosystems (https://ossf.github.io/osv-schema/).

// epochs stand before the version of a package and are not in banners (deb-version(7)): the same in Debian and Ubuntu for as
// long as any release that is kept up has them (https://sources.debian.org, https://packages.ubuntu.com).
var epochs = map[string]string{"openssh": "1:", "bind": "1:", "mariadb": "1:"}

// releases tell the release by the version of the software that it ships, where no two releases share one
// (https://packages.debian.org, https://packages.ubuntu.com, read 2026-11).
var releases = map[string]map[string]string{
	"Debian openssh": {"7.9p1": "10", "8.4p1": "11", "9.2p1": "12", "10.0p1": "13"},
	"Ubuntu openssh": {
		"6.6.1p1": "14.04:LTS", "7.2p2": "16.04:LTS", "7.6p1": "18.04:LTS", "8.2p1": "20.04:LTS", "8.9p1": "22.04:LTS", "9.6p1": "24.04:LTS",
	},
	"Ubuntu http_server": {"2.4.29": "18.04:LTS", "2.4.41": "20.04:LTS", "2.4.52": "22.04:LTS", "2.4.58": "24.04:LTS"},
	"Ubuntu exim":        {"4.90.1": "18.04:LTS", "4.93": "20.04:LTS", "4.95": "22.04:LTS", "4.97": "24.04:LTS"},
}

// setPackage notes the distribution that text names, and the version of its package where revision is what stands behind the
// version of the software. cpeName is the product as in setProduct.
func setPackage(fact *modelv1.ServiceFact, cpeName, text, revision string) {
	family := familyOf(text)
	if family == "" {
		family = familyOf(revision)
	}
	if family == "" && releaseOf("Debian", revision) != "" {
		family = "Debian"
	}
	if family == "" {
		return
	}
	release := releaseOf(family, revision)
	if release == "" {
		release = releases[family+" "+cpeName][fact.GetVersion()]
	}
	fact.Distribution = family
	if release != "" {
		fact.Distribution += ":" + release
	}
	if revision != "" && fact.GetVersion() != "" && isDigit(revision[0]) {
		fact.PackageVersion = safe(epochs[cpeName]+fact.GetVersion()+"-"+revision, maxName)
	}
}

// families are looked for in this order; Raspbian's banners say Debian nowhere.
var families = []struct{ mark, name string }{
	{"ubuntu", "Ubuntu"}, {"raspbian", "Raspbian"}, {"debian", "Debian"}, {"red hat", "Red Hat"}, {"redhat", "Red Hat"}, {"centos", "CentOS"},
	{"rocky linux", "Rocky Linux"}, {"almalinux", "AlmaLinux"}, {"oracle linux", "Oracle Linux"}, {"fedora", "Fedora"},
	{"amazon linux", "Amazon Linux"}, {"suse", "SUSE"}, {"alpine", "Alpine"},
}

func familyOf(text string) string {
	lower := strings.ToLower(text)
	for _, family := range families {
		if strings.Contains(lower, family.mark) {
			return family.name
		}
	}
	return ""
}

// releaseOf reads the release out of a revision: "2+deb12u3" and "1~deb12u2" are of Debian 12, "0ubuntu0.22.04.1" of Ubuntu
// 22.04, which had long-term support as every April release of an even year has.
func releaseOf(family, revision string) string {
	switch family {
	case "Debian", "Raspbian":
		for _, mark := range []string{"+deb", "~deb"} {
			_, after, found := strings.Cut(revision, mark)
			number, _, update := strings.Cut(after, "u")
			if found && update && len(number) > 0 && len(number) <= 2 && strings.Trim(number, "0123456789") == "" {
				return number
			}
		}
	case "Ubuntu":
		_, after, found := strings.Cut(revision, "ubuntu0.")
		if !found || len(after) < 5 || after[2] != '.' || strings.Trim(after[:2]+after[3:5], "0123456789") != "" {
			return ""
		}
		release := after[:5]
		if (release[1]-'0')%2 == 0 && release[3:] == "04" {
			release += ":LTS"
		}
		return release
	}
	return ""
}

// setSystem notes the operating system, which is text of the target.
func setSystem(fact *modelv1.ServiceFact, system string) {
	if fact.GetOs() == "" {
		fact.Os = safe(system, maxSystem)
	}
}

// maxSystem bounds the name of an operating system.
const maxSystem = 256

// systemIn notes the operating system that a banner names in brackets, as web servers do.
func systemIn(fact *modelv1.ServiceFact, text string) {
	lower := strings.ToLower(text)
	for _, known := range []struct{ mark, system string }{
		{"win64", "Windows"}, {"win32", "Windows"}, {"freebsd", "FreeBSD"}, {"openbsd", "OpenBSD"}, {"netbsd", "NetBSD"}, {"darwin", "macOS"},
	} {
		if strings.Contains(lower, known.mark) {
			setSystem(fact, known.system)
			return
		}
	}
	if fact.GetDistribution() != "" {
		setSystem(fact, "Linux")
	}
}

// systemOf is the system that a comment of SSH names.
func systemOf(comment string) string {
	switch {
	case familyOf(comment) != "":
		return "Linux"
	case strings.HasPrefix(comment, "FreeBSD"), strings.HasPrefix(comment, "NetBSD"):
		return comment
	}
	return ""
}
