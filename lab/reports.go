package lab

import (
	"cmp"
	"embed"
	"net/netip"
	"slices"
	"strings"
)

// reportFiles are reports of other tools about hosts of the lab, in the forms that those tools write.
//
//go:embed testdata/reports
var reportFiles embed.FS

// reportNetwork is what stands for the lab's network in the files.
const reportNetwork = "127.99.9."

// Report is a report of another tool about hosts of the lab.
type Report struct {
	File    string
	Content []byte
	// Asset is what its records belong to that name none: findings in images and source code. Empty: it needs none.
	Asset string
	// Problems is how many of its records cannot be taken.
	Problems uint64
}

// reports by file, in the order in which they are imported.
var reports = []Report{
	{File: "assets.csv"}, {File: "nmap.xml"}, {File: "nuclei.jsonl"}, {File: "trivy.json", Asset: "www.acme.test"}, {File: "sarif.json", Asset: "www.acme.test"},
	{File: "ocsf.json"}, {File: "asff.json"}, {File: "prowler.csv"}, {File: "testssl.json"}, {File: "sslyze.json"}, {File: "zap.json"},
}

// ReportSeeds are the seeds that the reports are about.
func ReportSeeds(network netip.Prefix) []string {
	return []string{"acme.test", "www.acme.test", at(network) + "60", "aws:123456789012"}
}

func at(network netip.Prefix) string {
	return strings.TrimSuffix(network.Masked().Addr().String(), "0")
}

// Reports are what the tools wrote first.
func Reports(network netip.Prefix) []Report { return readReports(network, "first") }

// LaterReports are what they wrote when some things were mended: each closes what its format can close, and is silent about others.
func LaterReports(network netip.Prefix) []Report { return readReports(network, "later") }

func readReports(network netip.Prefix, folder string) []Report {
	var out []Report
	for _, r := range reports {
		raw, err := reportFiles.ReadFile("testdata/reports/" + folder + "/" + r.File)
		if err != nil {
			continue // lists of assets close nothing
		}
		r.Content = []byte(strings.ReplaceAll(string(raw), reportNetwork, at(network)))
		if folder == "first" && r.File == "sslyze.json" {
			r.Problems = 1 // a server that it could not reach
		}
		out = append(out, r)
	}
	return out
}

// ReportTruth are the findings that follow from [Reports], and from [LaterReports] after them. Their notes are their titles.
func ReportTruth(network netip.Prefix) (first, later Truth) {
	for _, f := range reported(at(network)) {
		first = append(first, f.Finding)
		if !f.mended {
			later = append(later, f.Finding)
		}
	}
	for _, t := range []Truth{first, later} {
		slices.SortFunc(t, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Location, b.Location), cmp.Compare(a.Check, b.Check))
		})
	}
	return first, later
}

// reportedFinding is one finding of the first reports. Mended: the later ones say that it is over.
type reportedFinding struct {
	Finding

	mended bool
}

const (
	gone  = true
	stays = false
)

func reported(network string) []reportedFinding {
	const (
		shop    = "www.acme.test"
		shopWeb = "www.acme.test:8080/tcp"
		image   = "registry.example/shop:1 (debian 12.5)"
		legacy  = "legacy.acme.test"
		tls     = "legacy.acme.test:8444/tcp"
		account = "aws:123456789012"
		cloud   = "cloud account"
	)
	box := network + "60"
	return []reportedFinding{
		// nmap: services are judged as if we had seen them. The later report lists port 23 among those that are closed.
		{Finding{box, kindIP, box + ":23/tcp", "service-telnet-exposed", "Telnet is reachable"}, gone},
		{Finding{box, kindIP, box + ":6379/tcp", "service-database-exposed", "A database can be reached from outside"}, stays},
		{Finding{box, kindIP, box + ":6379/tcp", "service-version-disclosed", "A service tells its version"}, stays},
		// nuclei: written with -matcher-status, the later one says what did not match; an error closes nothing.
		{Finding{shop, kindHost, shopWeb, "reported-medium", "nuclei: Git Configuration - Detect"}, gone},
		{Finding{shop, kindHost, shopWeb, "reported-high", "nuclei: Some CMS - End of Life"}, stays},
		// nuclei, Trivy and Grype name one CVE: one finding. nuclei takes it back, the others do not.
		{Finding{shop, kindHost, "", "reported-severe", "grype: CVE-2021-41773 high vulnerability for apache2 package"}, stays},
		// Trivy: it says of settings that they pass, and of packages nothing.
		{Finding{shop, kindHost, image + " libc6", "reported-severe", "trivy: glibc: buffer overflow in ld.so"}, stays},
		{Finding{shop, kindHost, image + " apt", "reported-vulnerability", "trivy: apt-key does not check signatures"}, stays},
		{Finding{shop, kindHost, "Dockerfile", "reported-high", "trivy: Image user should not be 'root'"}, gone},
		{Finding{shop, kindHost, "/app/.env", "reported-critical", "trivy: AWS Access Key ID"}, stays},
		// SARIF: baselineState is absent.
		{Finding{shop, kindHost, "src/orders.php", "reported-critical", "grype: Query built from user input"}, gone},
		// OCSF: status Resolved.
		{Finding{shop, kindHost, "", "reported-severe", "inspector: CVE-2021-44228 - org.apache.logging.log4j:log4j-core"}, stays},
		{Finding{shop, kindHost, "", "reported-medium", "cis-cat: Root login over SSH is allowed"}, gone},
		// ASFF: RecordState ARCHIVED.
		{Finding{account, cloud, "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1", "reported-critical",
			"security hub: Security groups should not allow unrestricted access to ports with high risk"}, gone},
		// Prowler: PASS for the same resource.
		{Finding{account, cloud, "arn:aws:s3:::logs", "reported-high", "prowler: S3 bucket is public"}, gone},
		{Finding{account, cloud, "arn:aws:s3:::media", "reported-high", "prowler: S3 bucket is public"}, stays},
		{Finding{account, cloud, "arn:aws:ec2:eu-west-1:123456789012:eip-allocation/eipalloc-1", "reported-low", "prowler: Elastic IP is not assigned"}, stays},
		// testssl.sh says OK, SSLyze names no suite; both had reported one CVE. What could not be asked again stays.
		{Finding{legacy, kindHost, tls, "reported-high", "testssl.sh: SSLv3"}, gone},
		{Finding{legacy, kindHost, tls, "reported-severe", "sslyze: SSL 3.0 is accepted"}, gone},
		{Finding{legacy, kindHost, tls, "reported-vulnerability", "testssl.sh: BREACH"}, stays},
		{Finding{legacy, kindHost, tls, "reported-medium", "sslyze: TLS 1.0 is accepted"}, stays},
		// ZAP: marked as false.
		{Finding{shop, kindHost, shopWeb, "reported-high", "zap: SQL Injection"}, gone},
		{Finding{shop, kindHost, shopWeb, "reported-low", "zap: Missing Anti-clickjacking Header"}, stays},
	}
}
