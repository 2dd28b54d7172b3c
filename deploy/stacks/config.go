package stacks

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Config is what an operator decides about one deployment. Every field is one `-c name=value` of the CDK.
type Config struct {
	// Prefix begins the name of every resource, so that several deployments can share an account.
	Prefix string
	// Arch is arm64 or amd64.
	Arch string
	// Assets is the directory with the functions' archives, <arch>/<binary>.zip and roots.zip, made by `make lambda`.
	Assets string
	// Issuer and Audience say whose JSON Web Tokens are taken; without an issuer none are. TenantClaim and RolesClaim name the
	// claims with the tenant and the roles; empty: Cognito's.
	Issuer, Audience, TenantClaim, RolesClaim string
	// Provisioned is how many instances of the edge function are kept warm; 0 for none.
	Provisioned int
	// EdgeConcurrency reserves so many instances for the edge and bounds it to them; 0 for neither.
	EdgeConcurrency int
	// ScanConcurrency is how many invocations each scan type may have at a time; 0: what its Spec says.
	ScanConcurrency int
	// Rate and Burst are requests a second that the API takes in all.
	Rate, Burst int
	// LogDays is how long logs are kept.
	LogDays int
	// EvidenceDays is how long the raw evidence of scans is kept.
	EvidenceDays int
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// CloudRoles are the ARNs of roles in tenants' accounts that the scanner may assume, with wildcards.
	CloudRoles []string
	// CloudRegions limits what is read of tenants' accounts, as text: "eu-west-1,us-east-1"; empty: all regions that they enabled.
	CloudRegions string
}

// Default is the configuration without any option.
func Default() Config {
	return Config{
		Prefix: "rp-prod", Arch: "arm64", Assets: "../bin/lambda", Rate: 200, Burst: 400, LogDays: 30, EvidenceDays: 400, LogLevel: "info",
		CloudRoles: []string{"arn:aws:iam::*:role/RiskProfiler*"},
	}
}

// Options lists the options with what they are for, for a help text.
func Options() []string {
	out := make([]string, 0, len(options))
	for _, o := range options {
		out = append(out, o.name+": "+o.help)
	}
	return out
}

type option struct {
	name, help string
	set        func(c *Config, value string) error
}

var (
	// prefixForm is what platform/awsclient accepts: with it the longest bucket name stays below S3's 63 characters.
	prefixForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)
	// retentions are what CloudWatch Logs accepts, up to a year:
	// https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
	// roleForm is the ARN of a role, with wildcards in account and name
	// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns).
	roleForm = regexp.MustCompile(`^arn:aws(-cn|-us-gov)?:iam::([0-9]{12}|\*):role/[A-Za-z0-9+=,.@_/*-]{1,512}$`)
	// regionsForm are names of regions, with commas.
	regionsForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+(,[a-z]{2,}(-[a-z0-9]+)+)*$`)
	retentions  = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365}
)

var options = []option{
	{"prefix", "begins the name of every resource (rp-prod)", func(c *Config, v string) error {
		c.Prefix = v
		return require(prefixForm.MatchString(v), "1 to 24 of a-z, 0-9 and dashes")
	}},
	{"arch", "arm64 or amd64 (arm64)", func(c *Config, v string) error {
		c.Arch = v
		return require(v == "arm64" || v == "amd64", "arm64 or amd64")
	}},
	{"assets", "directory with the archives of `make lambda` (../bin/lambda)", func(c *Config, v string) error {
		c.Assets = v
		return require(v != "", "a directory")
	}},
	{"issuer", "OpenID Connect issuer whose tokens are taken (none)", func(c *Config, v string) error {
		c.Issuer = v
		u, err := url.Parse(v)
		return require(err == nil && u.Scheme == "https" && u.Host != "", "an https URL")
	}},
	{"audience", "audience of those tokens, or their client_id", func(c *Config, v string) error {
		c.Audience = v
		return require(!strings.ContainsAny(v, ", "), "one name without commas and spaces")
	}},
	{"tenantClaim", "claim that names the tenant (custom:tenant)", func(c *Config, v string) error { c.TenantClaim = v; return nil }},
	{"rolesClaim", "claim that lists the roles (cognito:groups)", func(c *Config, v string) error { c.RolesClaim = v; return nil }},
	{"provisioned", "instances of the edge function that are kept warm (0)", func(c *Config, v string) error { return number(&c.Provisioned, v, 0, 1000) }},
	{"edgeConcurrency", "instances reserved for the edge function, and its limit (0: neither)", func(c *Config, v string) error {
		return number(&c.EdgeConcurrency, v, 0, 1000)
	}},
	{"scanConcurrency", "invocations of each scan type at a time (64)", func(c *Config, v string) error {
		return number(&c.ScanConcurrency, v, 2, 1000) // what an event source mapping takes
	}},
	{"rate", "requests a second that the API takes (200)", func(c *Config, v string) error { return number(&c.Rate, v, 1, 10_000) }},
	{"burst", "requests at once that the API takes (400)", func(c *Config, v string) error { return number(&c.Burst, v, 1, 10_000) }},
	{"logDays", "days that logs are kept (30)", func(c *Config, v string) error {
		err := number(&c.LogDays, v, 1, 365)
		return firstError(err, require(slices.Contains(retentions, c.LogDays), fmt.Sprint("one of ", retentions)))
	}},
	{"evidenceDays", "days that evidence of scans is kept (400)", func(c *Config, v string) error { return number(&c.EvidenceDays, v, 1, 3650) }},
	{"logLevel", "debug, info, warn or error (info)", func(c *Config, v string) error {
		c.LogLevel = v
		return require(slices.Contains([]string{"debug", "info", "warn", "error"}, v), "debug, info, warn or error")
	}},
	{"cloudRoles", "roles in tenants' accounts that may be assumed, with semicolons, or none (arn:aws:iam::*:role/RiskProfiler*)", func(c *Config, v string) error {
		c.CloudRoles = nil
		if v == "none" {
			return nil
		}
		for arn := range strings.SplitSeq(v, ";") {
			if c.CloudRoles = append(c.CloudRoles, arn); !roleForm.MatchString(arn) {
				return require(false, "ARNs of roles with semicolons between, or none")
			}
		}
		return nil
	}},
	{"cloudRegions", "regions that are read of tenants' accounts (all that are enabled)", func(c *Config, v string) error {
		c.CloudRegions = v
		return require(regionsForm.MatchString(v), "names of regions with commas between")
	}},
}

// Read takes the options from lookup, which returns "" for what was not given.
func Read(lookup func(name string) string) (Config, error) {
	c := Default()
	for _, o := range options {
		v := lookup(o.name)
		if v == "" {
			continue
		}
		if err := o.set(&c, v); err != nil {
			return Config{}, fmt.Errorf("option %s is %q: it has to be %w", o.name, v, err)
		}
	}
	if (c.Issuer == "") != (c.Audience == "") {
		return Config{}, fmt.Errorf("options issuer and audience belong together: give both, or none")
	}
	if c.EdgeConcurrency > 0 && c.Provisioned > c.EdgeConcurrency {
		return Config{}, fmt.Errorf("option provisioned is %d: it cannot be above edgeConcurrency, which is %d", c.Provisioned, c.EdgeConcurrency)
	}
	return c, nil
}

func require(ok bool, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s", what)
}

func number(into *int, v string, low, high int) error {
	n, err := strconv.Atoi(v)
	*into = n
	return require(err == nil && n >= low && n <= high, fmt.Sprintf("a number from %d to %d", low, high))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
