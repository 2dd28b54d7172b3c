// Package awsclient is where the AWS drivers get their SDK configuration and their words for what went wrong: one URL says
// region, name prefix and endpoints, credentials come from the SDK's default chain, and an error of the SDK becomes one line
// that names the resource and the remedy.
//
// It makes no client and calls nothing: each driver links only the service that it uses.
package awsclient

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Example is shown where a URL cannot be read.
const Example = "aws://eu-west-1/rp-prod"

// Services are the names under which Location.Endpoints says where one service is.
var services = []string{"dynamodb", "sqs", "s3", "states", "lambda", "sts", "secretsmanager"}

// Location is a parsed URL: where the resources are and what their names begin with.
type Location struct {
	Region string
	// Prefix and a dash begin the name of every resource.
	Prefix string
	// BucketSuffix ends the names of buckets, which are unique in the whole world: an account id, for example.
	BucketSuffix string
	// Account is the id of the account, 12 digits, "" if the URL does not say it: the names of state machines need it.
	Account string
	// TableWorkflow says that workflows run in the process of the service that owns them, over a table, and not in Step Functions.
	TableWorkflow bool
	// Endpoint is for all services, Endpoints for single ones; empty for AWS itself.
	Endpoint  string
	Endpoints map[string]string
}

// tableWorkflow is the value of the parameter states that sets Location.TableWorkflow.
const tableWorkflow = "table"

// prefixForm keeps the names of tables, queues (80 characters with ".fifo") and buckets (63, lower case) legal:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
var prefixForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)

// accountForm is that of https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-identifiers.html.
var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// regionForm is that of all region names: https://docs.aws.amazon.com/general/latest/gr/rande.html
var regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)

// suffixForm leaves room for a bucket's own name within 63 characters.
var suffixForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,24}[a-z0-9])?$`)

// Parse reads aws://REGION/PREFIX with the optional query parameters endpoint (all services), dynamodb, sqs, s3, states, lambda,
// sts and secretsmanager (URLs of single services), bucketsuffix and account; states may be the word table instead (see Location.TableWorkflow).
// Anything else is fault.Invalid with an example.
func Parse(raw string) (Location, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "aws" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return Location{}, invalid(raw, "it is no URL of the form aws://REGION/PREFIX")
	}
	l := Location{Region: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoints: map[string]string{}}
	if !regionForm.MatchString(l.Region) {
		return Location{}, invalid(raw, "what stands for the region is none")
	}
	if !prefixForm.MatchString(l.Prefix) {
		return Location{}, invalid(raw, "the prefix has to be 1 to 24 of a-z, 0-9 and dashes")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, invalid(raw, "its parameters cannot be read")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if len(query[name]) > 1 {
			return Location{}, invalid(raw, "its parameter "+name+" is there twice")
		}
		if why := l.set(name, query.Get(name)); why != "" {
			return Location{}, invalid(raw, why)
		}
	}
	return l, nil
}

// set takes one parameter, and says what is wrong with it.
func (l *Location) set(name, value string) string {
	switch {
	case name == "bucketsuffix":
		if l.BucketSuffix = value; !suffixForm.MatchString(value) {
			return "its parameter bucketsuffix has to be 1 to 26 of a-z, 0-9 and dashes"
		}
		return ""
	case name == "account":
		if l.Account = value; !accountForm.MatchString(value) {
			return "its parameter account is no account id of 12 digits"
		}
		return ""
	case name == "states" && value == tableWorkflow:
		l.TableWorkflow = true
		return ""
	case name == "endpoint":
		l.Endpoint = value
	case slices.Contains(services, name):
		l.Endpoints[name] = value
	default:
		return "it has an unknown parameter " + name
	}
	if e, err := url.Parse(value); err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https" {
		return "its parameter " + name + " is no http or https URL"
	}
	return ""
}

// userinfo is what stands between "//" and "@" where somebody put credentials into the URL.
var userinfo = regexp.MustCompile(`//[^/]*@`)

// invalid shows the URL without what may be a secret.
func invalid(raw, why string) error {
	return fault.New(fault.Invalid, "read RISKPROFILER_BACKEND %q: %s; an example is %s", userinfo.ReplaceAllString(raw, "//...@"), why, Example)
}

// Name is the name of a resource: the prefix, a dash and the resource's own name.
func (l Location) Name(resource string) string { return l.Prefix + "-" + resource }

// Bucket is the name of a bucket.
func (l Location) Bucket(name string) string {
	if l.BucketSuffix == "" {
		return l.Name(name)
	}
	return l.Name(name) + "-" + l.BucketSuffix
}

// Partition is the part of AWS that the region belongs to, the second word of every ARN:
// https://docs.aws.amazon.com/general/latest/gr/aws-arns-and-namespaces.html
func (l Location) Partition() string {
	switch {
	case strings.HasPrefix(l.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(l.Region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// EndpointOf is the base endpoint of a service, nil for AWS itself: what the BaseEndpoint option of its client takes.
func (l Location) EndpointOf(service string) *string {
	if e := l.Endpoints[service]; e != "" {
		return aws.String(e)
	}
	if l.Endpoint != "" {
		return aws.String(l.Endpoint)
	}
	return nil
}

// Load makes the SDK configuration of a location. It reads the environment and the SDK's files and calls nothing: credentials are
// looked for at the first request. Clients are to set BaseEndpoint by EndpointOf.
func Load(ctx context.Context, l Location, options ...func(*config.LoadOptions) error) (aws.Config, error) {
	options = append([]func(*config.LoadOptions) error{config.WithRegion(l.Region)}, options...)
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fault.Wrap(fault.FailedPrecondition, err, "load the AWS configuration")
	}
	c.Region = l.Region
	return c, nil
}
