package aws

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/target"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
)

const (
	// sessionName is what the account's CloudTrail shows as who called.
	sessionName = "riskprofiler"
	// sessionTime is how long the credentials live: the least that STS gives, more than a job takes
	// (docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, DurationSeconds).
	sessionTime = 15 * time.Minute
)

// partition is one of the separate clouds of AWS, with the region in which its global services are asked
// (docs.aws.amazon.com/general/latest/gr/rande.html, docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html).
type partition struct{ name, home string }

var (
	commercial = partition{"aws", "us-east-1"}
	china      = partition{"aws-cn", "cn-north-1"}
	government = partition{"aws-us-gov", "us-gov-west-1"}
)

// partitionOf reads the partition of an ARN; the commercial one where it has none.
func partitionOf(arn string) partition {
	switch {
	case strings.HasPrefix(arn, "arn:"+china.name+":"):
		return china
	case strings.HasPrefix(arn, "arn:"+government.name+":"):
		return government
	}
	return commercial
}

// session is the way into one account for one job.
type session struct {
	account string
	partition
	config aws.Config
	client *http.Client
	env    probes.Env
	role   string
}

// open finds our own credentials by the SDK's default chain, and goes from them into the role. Without a role it stays as it is.
func open(ctx context.Context, env probes.Env, account string, access *modelv1.CloudAccess) (*session, error) {
	role := access.GetRole()
	if role != "" && !ofAccount(role, account) {
		return nil, fault.New(fault.FailedPrecondition, "role %s is none of account %s", probes.SafeString(role, 256), account)
	}
	client, err := newHTTP(env)
	if err != nil {
		return nil, err
	}
	s := &session{account: account, partition: partitionOf(role), client: client, env: env, role: role}
	// The credentials of this process come from where the operator put them (environment, files, the machine's own metadata), which no
	// tenant has a say in: they are looked for by the SDK's own client.
	own, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.home))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "this process has no configuration for AWS that can be read")
	}
	s.config = aws.Config{
		Region: s.home, Credentials: own.Credentials, HTTPClient: client, AppID: "riskprofiler",
		Retryer: func() aws.Retryer { return awsclient.NewRetryer() },
	}
	if role == "" {
		return s, nil
	}
	return s, s.assume(ctx, access)
}

// assume goes into the role.
func (s *session) assume(ctx context.Context, access *modelv1.CloudAccess) error {
	out, err := sts.NewFromConfig(s.config).AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String(access.GetRole()), RoleSessionName: aws.String(sessionName), ExternalId: aws.String(access.GetExternalId()),
		DurationSeconds: aws.Int32(int32(sessionTime.Seconds())), Policy: aws.String(sessionPolicy()),
	})
	if err != nil {
		return s.entry(err, "assume role "+probes.SafeString(access.GetRole(), 256))
	}
	c := out.Credentials
	if c == nil {
		return fault.New(fault.Unavailable, "assume role: AWS answered without credentials")
	}
	s.config.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(c.AccessKeyId), aws.ToString(c.SecretAccessKey), aws.ToString(c.SessionToken))
	return nil
}

// identify makes sure that the credentials are of the account.
func (s *session) identify(ctx context.Context) error {
	out, err := sts.NewFromConfig(s.config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return s.entry(err, "ask whose credentials these are")
	}
	if got := aws.ToString(out.Account); got != s.account {
		if s.role == "" {
			return fault.New(fault.FailedPrecondition, "nobody made a role for us in account %s, and this process has its own credentials for another account; "+
				"prove the account with a role (see docs/cloud.md)", s.account)
		}
		return fault.New(fault.FailedPrecondition, "the role leads to another account than %s", s.account)
	}
	if s.role == "" {
		s.partition = partitionOf(aws.ToString(out.Arn))
	}
	return nil
}

// entry is why the account could not be entered, in our own words: what AWS says names our own identity.
func (s *session) entry(err error, what string) error {
	var malformed *ststypes.MalformedPolicyDocumentException
	switch kind := gapOf(err); {
	case errors.As(err, &malformed):
		return fault.New(fault.Internal, "%s: AWS does not accept the session's policy", what)
	case kind == deniedGap && strings.Contains(what, "assume"):
		return fault.New(fault.FailedPrecondition, "%s: AWS refuses; the role has to exist, trust this platform's identity and require the external id", what)
	case kind == deniedGap:
		return fault.New(fault.FailedPrecondition, "%s: AWS refuses", what)
	case noCredentials(err):
		return fault.New(fault.Unavailable, "%s: this process has no AWS credentials; give it a role or set AWS_PROFILE", what)
	}
	return fault.New(fault.Unavailable, "%s: %s", what, oneLine(err))
}

func (s *session) close() { s.client.CloseIdleConnections() }

// in is the configuration for one region.
func (s *session) in(region string) aws.Config {
	c := s.config.Copy()
	c.Region = region
	return c
}

// ofAccount says whether an ARN is that of a role in the account
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html).
func ofAccount(arn, account string) bool {
	parts := strings.SplitN(arn, ":", 6)
	return len(parts) == 6 && parts[0] == "arn" && parts[2] == "iam" && parts[3] == "" && parts[4] == account && strings.HasPrefix(parts[5], "role/")
}

// endpointOf is where the operator says that AWS is reached; nil: where it is.
func endpointOf(env probes.Env) (*url.URL, error) {
	text := env.Cloud.URLs[target.AWS]
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "read settings: RISKPROFILER_CLOUD_URLS: what stands for aws is no http or https URL")
	}
	return u, nil
}
