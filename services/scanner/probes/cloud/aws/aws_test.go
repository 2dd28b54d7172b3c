package aws_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/netguard"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/cloudtest"
)

// An account with nothing in it is read whole: no call is left without an answer.
func TestEmptyAccount(t *testing.T) {
	f := newFake(t)
	found, gaps := f.inventory(t)
	if len(gaps) != 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	if r, ok := found["s3:account "]; len(found) != 1 || !ok || r.Fact.GetSettings()[cloud.SettingAccessBlock] != cloud.BlockNone || !r.OfAccount {
		t.Errorf("found: %+v", found)
	}
}

// The confused deputy: who knows the role's name and not the external id proves nothing, and neither does a role of another account.
func TestProveRole(t *testing.T) {
	f := newFake(t)
	prove := func(account, role, id string) error {
		return aws.New().ProveRole(t.Context(), f.env(), account, &modelv1.CloudAccess{Role: role, ExternalId: id})
	}
	if err := prove(account, role, externalID); err != nil {
		t.Errorf("own: %v", err)
	}
	for name, err := range map[string]error{
		"another external id":                 prove(account, role, "rp-other"),
		"another account's role":              prove(account, "arn:aws:iam::999999999999:role/RiskProfiler", externalID),
		"a role that is none":                 prove(account, "arn:aws:iam::"+account+":user/RiskProfiler", externalID),
		"an account within the name":          prove(account, "arn:aws:iam::999999999999:role/"+account+":role/x", externalID),
		"another account that the role is in": prove("999999999999", role, externalID),
	} {
		if !errors.Is(err, fault.FailedPrecondition) || strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := f.Count("sts AssumeRole"); n != 2 {
		t.Errorf("%d roles were assumed: those of other accounts must not be tried", n)
	}
	f.XML("sts GetCallerIdentity", `<GetCallerIdentityResult><Account>999999999999</Account></GetCallerIdentityResult>`)
	if err := prove(account, role, externalID); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("credentials of another account: %v", err)
	}
	f.Close()
	if err := prove(account, role, externalID); !errors.Is(err, fault.Unavailable) {
		t.Errorf("nobody answers: %v", err)
	}
}

// Without the operator's word, AWS on a private address is not reached.
func TestGuarded(t *testing.T) {
	f := newFake(t)
	env := f.env()
	env.Guard = netguard.New(netguard.Options{})
	if err := aws.New().ProveRole(t.Context(), env, account, &modelv1.CloudAccess{Role: role, ExternalId: externalID}); err == nil || f.Count("sts AssumeRole") != 0 {
		t.Errorf("%v, %d calls", err, f.Count("sts AssumeRole"))
	}
}

// What is refused or throttled is a gap with the action's name, nothing follows from what was not seen, and the rest is read.
func TestGaps(t *testing.T) {
	f := newFake(t)
	f.Refuse("cloudfront GET /2020-05-31/distribution", http.StatusForbidden, "AccessDenied")
	f.Refuse("ec2 DescribeAddresses", http.StatusForbidden, "UnauthorizedOperation")
	f.Refuse("rds DescribeDBInstances", http.StatusBadRequest, "AccessDenied")
	f.Refuse("lambda GET /2015-03-31/functions", http.StatusTooManyRequests, "TooManyRequestsException")
	f.Refuse("redshift DescribeClusters", http.StatusInternalServerError, "InternalFailure")
	f.XML("route53 GET /2013-04-01/hostedzone", `<HostedZones><HostedZone><Id>/hostedzone/Z1</Id><Name>example.com.</Name><CallerReference>x</CallerReference></HostedZone></HostedZones><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>`)
	f.XML("route53 GET /2013-04-01/hostedzone/Z1/rrset", `<ResourceRecordSets><ResourceRecordSet><Name>old.example.com.</Name><Type>A</Type><ResourceRecords><ResourceRecord><Value>3.5.140.3</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>
		<ResourceRecordSet><Name>cdn.example.com.</Name><Type>CNAME</Type><ResourceRecords><ResourceRecord><Value>d9.cloudfront.net</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>`)
	found, gaps := f.inventory(t)
	want := map[string]cloud.GapKind{
		"cloudfront:ListDistributions": cloud.GapDenied, "ec2:DescribeAddresses eu-west-1": cloud.GapDenied, "rds:DescribeDBInstances eu-west-1": cloud.GapDenied,
		"lambda:ListFunctions eu-west-1": cloud.GapThrottled, "redshift:DescribeClusters eu-west-1": cloud.GapFailed,
	}
	for _, g := range gaps {
		key := strings.TrimSpace(g.API + " " + g.Region)
		if kind, ok := want[key]; !ok || kind != g.Why {
			t.Errorf("gap %+v", g)
		}
		delete(want, key)
		if strings.Contains(g.Detail, "assumed-role") {
			t.Errorf("a gap says what AWS says about us: %+v", g)
		}
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
	for _, g := range gaps {
		if service, _, _ := strings.Cut(g.API, ":"); !slices.Equal(g.Kinds, []string{service + ":"}) {
			t.Errorf("%s: %v may be missing for it", g.API, g.Kinds)
		}
	}
	for _, name := range []string{"old.example.com", "cdn.example.com"} {
		r, ok := found["route53:record "+name]
		if why, judged := r.Fact.GetSettings()[cloud.SettingDangling]; !ok || judged {
			t.Errorf("%s: %v %q: what was not read may be there", name, ok, why)
		}
	}
}

// The same account, read whole: what is lost is told.
func TestDanglingAndGhosts(t *testing.T) {
	f := newFake(t)
	f.XML("route53 GET /2013-04-01/hostedzone", `<HostedZones><HostedZone><Id>/hostedzone/Z1</Id><Name>example.com.</Name><CallerReference>x</CallerReference></HostedZone>
		<HostedZone><Id>/hostedzone/Z2</Id><Name>internal.</Name><CallerReference>y</CallerReference><Config><PrivateZone>true</PrivateZone></Config></HostedZone></HostedZones><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>`)
	record := func(name, kind, value string) string {
		return `<ResourceRecordSet><Name>` + name + `.</Name><Type>` + kind + `</Type><ResourceRecords><ResourceRecord><Value>` + value + `</Value></ResourceRecord></ResourceRecords></ResourceRecordSet>`
	}
	f.XML("route53 GET /2013-04-01/hostedzone/Z1/rrset", `<ResourceRecordSets>`+record("old.example.com", "A", "3.5.140.3")+record("own.example.com", "A", "3.5.140.2")+
		record("cdn.example.com", "CNAME", "d9.cloudfront.net")+record("app.example.com", "CNAME", "app-1.eu-west-1.elb.amazonaws.com")+
		record("site.example.com", "CNAME", "site.example.com.s3-website-eu-west-1.amazonaws.com")+record("theirs.example.com", "CNAME", "theirs.example.com.s3-website-eu-west-1.amazonaws.com")+
		record("example.com", "MX", "10 mail.example.net")+record(`\052.dev.example.com`, "A", "3.5.140.4")+`</ResourceRecordSets><IsTruncated>false</IsTruncated><MaxItems>300</MaxItems>`)
	f.XML("ec2 DescribeAddresses", `<addressesSet><item><publicIp>3.5.140.2</publicIp><allocationId>eipalloc-1</allocationId></item></addressesSet>`)
	f.XML("cloudfront GET /2020-05-31/distribution", `<Items><DistributionSummary><Id>E1</Id><ARN>arn:aws:cloudfront::123456789012:distribution/E1</ARN><DomainName>d1.cloudfront.net</DomainName><Enabled>true</Enabled>
		<Aliases><Quantity>1</Quantity><Items><CNAME>www.example.com</CNAME></Items></Aliases>
		<Origins><Quantity>2</Quantity><Items><Origin><Id>a</Id><DomainName>gone.s3.eu-west-1.amazonaws.com</DomainName></Origin><Origin><Id>b</Id><DomainName>agency.s3.amazonaws.com</DomainName></Origin></Items></Origins>
		<DefaultCacheBehavior><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy></DefaultCacheBehavior><ViewerCertificate><MinimumProtocolVersion>TLSv1.1_2016</MinimumProtocolVersion></ViewerCertificate><WebACLId></WebACLId></DistributionSummary></Items><IsTruncated>false</IsTruncated>`)
	for _, theirs := range []string{"agency", "theirs.example.com"} {
		f.Answer("s3 HEAD "+theirs+"?", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	}
	found, gaps := f.inventory(t)
	if len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	for name, want := range map[string]string{
		"old.example.com": cloud.DanglingAddress, "own.example.com": cloud.DanglingIdleAddress, "cdn.example.com": cloud.DanglingDistribution, "app.example.com": cloud.DanglingLoadBalancer,
		"site.example.com": cloud.DanglingBucket, "theirs.example.com": cloud.DanglingBucketElsewhere, "*.dev.example.com": cloud.DanglingAddress,
	} {
		r, ok := found["route53:record "+name]
		if got := r.Fact.GetSettings()[cloud.SettingDangling]; !ok || got != want || !r.PlacesOnly {
			t.Errorf("%s: %v %q, want %q", name, ok, got, want)
		}
	}
	if _, ok := found["route53:record example.com"]; ok {
		t.Error("a mail record is no place")
	}
	d := found["cloudfront:distribution E1"].Fact
	for name, want := range map[string]string{
		cloud.SettingGhostOrigin: "gone", cloud.SettingPlainHTTP: cloud.Yes, cloud.SettingMinimumTLS: cloud.TLS11, cloud.SettingWebACL: cloud.None,
	} {
		if d.GetSettings()[name] != want {
			t.Errorf("distribution: %s is %q, want %q", name, d.GetSettings()[name], want)
		}
	}
	if !d.GetPublic() || !slices.Equal(d.GetHostnames(), []string{"d1.cloudfront.net", "www.example.com"}) {
		t.Errorf("distribution: %v", d)
	}
	if n := f.Count("route53 GET /2013-04-01/hostedzone/Z2/rrset"); n != 0 {
		t.Errorf("a private zone was read")
	}
}

// Ten thousand resources and more, giant texts and control characters: what is kept is bounded and harmless, and the cut is told.
func TestHostileInventory(t *testing.T) {
	f := newFake(t)
	var groups, addresses strings.Builder
	for i := range 11_000 {
		fmt.Fprintf(&addresses, `<item><publicIp>3.%d.%d.%d</publicIp><allocationId>eipalloc-%d</allocationId><tagSet><item><key>Name</key><value>%s</value></item></tagSet></item>`,
			i>>16, i>>8&255, i&255, i, "\u009b31m"+strings.Repeat("x", 300))
	}
	fmt.Fprintf(&groups, `<item><groupId>sg-1</groupId><groupName>%s</groupName><ipPermissions>`, strings.Repeat("\u202e", 5000))
	for port := range 3000 {
		fmt.Fprintf(&groups, `<item><ipProtocol>tcp</ipProtocol><fromPort>%d</fromPort><toPort>%d</toPort><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item>`, port, port)
	}
	groups.WriteString(`</ipPermissions></item>`)
	f.XML("ec2 DescribeAddresses", `<addressesSet>`+addresses.String()+`</addressesSet>`)
	f.XML("ec2 DescribeSecurityGroups", `<securityGroupInfo>`+groups.String()+`</securityGroupInfo>`)
	job := &modelv1.ScanJob{ScanType: modelv1.ScanType_SCAN_TYPE_CLOUD, Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_CLOUD_ACCOUNT, Value: "aws:" + account},
		Options: &modelv1.ScanOptions{Cloud: &modelv1.CloudAccess{Role: role, ExternalId: externalID}}}
	result, err := cloud.New(aws.New()).Scan(t.Context(), f.env(), job)
	if err != nil || result.Outcome != modelv1.Outcome_OUTCOME_PARTIAL || !strings.Contains(result.Reason, "cut at our bound") {
		t.Fatalf("%v %v", err, result.Reason)
	}
	if n := len(result.Observations); n > 2*cloud.MaxResources || n < cloud.MaxResources {
		t.Errorf("%d observations", n)
	}
	for _, o := range result.Observations {
		c := o.GetCloud()
		if len(c.GetIngress()) > 100 || len(o.String()) > 64<<10 || probes.SafeString(c.GetName(), 256) != c.GetName() || probes.SafeString(c.GetId(), 512) != c.GetId() {
			t.Fatalf("not bounded or not harmless: %.500s", o)
		}
	}
}

// An answer without end, and one that is no answer, are gaps.
func TestHostileAnswers(t *testing.T) {
	f := newFake(t)
	f.Answer("ec2 DescribeAddresses", func(w http.ResponseWriter, _ *http.Request) {
		cloudtest.Write(w, "<DescribeAddressesResponse><addressesSet>")
		chunk := strings.Repeat("<item></item>", 1<<12)
		for range 2 * cloud.MaxAnswerBytes / len(chunk) {
			cloudtest.Write(w, chunk)
		}
	})
	f.JSON("lambda GET /2015-03-31/functions", "<html>")
	f.JSON("sqs ListQueues", `{"QueueUrls":["http://169.254.169.254/latest/meta-data/","file:///etc/passwd"]}`)
	f.Answer("acm ListCertificates", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/iam/")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, gaps := f.inventory(t)
	for _, api := range []string{"ec2:DescribeAddresses", "lambda:ListFunctions", "acm:ListCertificates"} {
		if !slices.ContainsFunc(gaps, func(g cloud.Gap) bool { return g.API == api && g.Why == cloud.GapFailed }) {
			t.Errorf("%s is no gap: %+v", api, gaps)
		}
	}
}

// The list of permissions is what is called, no more and no less; it fits into the session's policy; and the document for the role's
// owner has the same.
func TestActions(t *testing.T) {
	called := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`"([a-z0-9-]+:[A-Z][A-Za-z0-9]+)"`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "actions.go" {
			continue
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range form.FindAllStringSubmatch(string(raw), -1) {
			called[m[1]] = true
		}
	}
	for _, judged := range []string{"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject", "s3:PutBucketPolicy", "lambda:InvokeFunction", "lambda:InvokeFunctionUrl"} {
		if judged != "s3:ListBucket" { // which HeadBucket needs as well
			delete(called, judged) // looked for in policies, not called
		}
	}
	if got, want := aws.Actions(), slices.Sorted(maps.Keys(called)); !slices.Equal(got, want) {
		t.Errorf("the list is\n%v\nand called is\n%v", got, want)
	}
	doc, err := os.ReadFile("../../../../../docs/cloud.md")
	if err != nil {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(string(doc), "<!-- actions -->")
	policy, _, _ = strings.Cut(policy, "<!-- end -->")
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^\s*- ([a-z0-9-]+:[A-Z][A-Za-z0-9]+)$`).FindAllStringSubmatch(policy, -1) {
		told = append(told, m[1])
	}
	if !slices.Equal(told, aws.Actions()) {
		t.Errorf("docs/cloud.md lists\n%v", told)
	}
}

// The credentials are narrowed to what is called, whatever the role may do.
func TestSessionPolicy(t *testing.T) {
	f := newFake(t)
	assume := f.Answers("sts AssumeRole")
	policy := ""
	f.Answer("sts AssumeRole", func(w http.ResponseWriter, r *http.Request) {
		policy = r.PostForm.Get("Policy")
		assume(w, r)
	})
	if err := aws.New().ProveRole(t.Context(), f.env(), account, &modelv1.CloudAccess{Role: role, ExternalId: externalID}); err != nil {
		t.Fatal(err)
	}
	var doc struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(policy), &doc); err != nil || len(policy) > 2048 || len(doc.Statement) != 1 {
		t.Fatalf("%v: %d bytes: %s", err, len(policy), policy)
	}
	for _, a := range aws.Actions() {
		if !slices.ContainsFunc(doc.Statement[0].Action, func(p string) bool {
			return p == a || strings.HasSuffix(p, "*") && strings.HasPrefix(a, strings.TrimSuffix(p, "*"))
		}) {
			t.Errorf("%s is not in the session's policy", a)
		}
	}
	for _, a := range doc.Statement[0].Action {
		_, verb, _ := strings.Cut(a, ":")
		if !strings.HasPrefix(verb, "Describe") && !strings.HasPrefix(verb, "List") && !strings.HasPrefix(verb, "Get") && verb != "GET" {
			t.Errorf("the session may %s", a)
		}
	}
}

// What may be missing where an action failed is named as the types of resources are: each type has an action, and each action a type.
func TestKinds(t *testing.T) {
	form := regexp.MustCompile(`"([a-z0-9-]+:)[a-z-]+"`)
	raw, err := os.ReadFile("../settings.go")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, m := range form.FindAllStringSubmatch(string(raw), -1) {
		types[m[1]] = true
	}
	if len(types) < 20 {
		t.Fatalf("%v", types)
	}
	read := map[string]bool{"wafv2:": true} // a setting of others, and no resource of its own
	for _, action := range aws.Actions() {
		kinds := aws.KindsOf(action)
		if action == "ec2:DescribeRegions" {
			if len(kinds) != 0 {
				t.Errorf("without the list of regions only %v may be missing", kinds)
			}
			continue
		}
		if len(kinds) != 1 || !types[kinds[0]] && kinds[0] != "wafv2:" {
			t.Errorf("%s: no resource has a type that begins with %v", action, kinds)
		}
		read[kinds[0]] = true
	}
	for kind := range types {
		if !read[kind] {
			t.Errorf("no action is said to read %s", kind)
		}
	}
}

// What the operator does not want read lacks nothing, but nobody says that it is gone.
func TestUnwantedRegions(t *testing.T) {
	f := newFake(t)
	f.XML("ec2 DescribeRegions", `<regionInfo><item><regionName>eu-west-1</regionName><regionEndpoint>x</regionEndpoint></item><item><regionName>us-east-1</regionName><regionEndpoint>y</regionEndpoint></item></regionInfo>`)
	f.regions = []string{"eu-west-1"}
	_, gaps := f.inventory(t)
	if len(gaps) != 1 || gaps[0].Why != cloud.GapUnwanted || gaps[0].Region != "us-east-1" || len(gaps[0].Kinds) != 0 {
		t.Errorf("gaps %+v", gaps)
	}
}
