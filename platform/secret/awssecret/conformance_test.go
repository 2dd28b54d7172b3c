//go:build awstest

package awssecret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/riskprofiler/riskprofiler/platform/awsclient/awstest"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/secret/awssecret"
	"github.com/riskprofiler/riskprofiler/platform/secret/secrettest"
)

func TestConformance(t *testing.T) {
	secrettest.Run(t, func(t *testing.T) secret.Store {
		l := awstest.Location(t)
		return awssecret.Open(awstest.Config(t, l), l)
	})
}

// Two deployments in one account have nothing in common, and a secret is where the deployment's permissions say.
func TestNames(t *testing.T) {
	one, two := awstest.Location(t), awstest.Location(t)
	config := awstest.Config(t, one)
	s := awssecret.Open(config, one)
	if err := s.Put(t.Context(), "acme", "shodan", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := awssecret.Open(config, two).Get(t.Context(), "acme", "shodan"); !errors.Is(err, fault.NotFound) {
		t.Errorf("another deployment: %v", err)
	}
	client := secretsmanager.NewFromConfig(config, func(o *secretsmanager.Options) { o.BaseEndpoint = one.EndpointOf("secretsmanager") })
	name := one.Prefix + "/tenants/acme/shodan"
	out, err := client.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: &name})
	if err != nil || !strings.HasSuffix(*out.Name, "/acme/shodan") {
		t.Errorf("describe %s: %v", name, err)
	}
	text := "written by hand"
	if _, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: &text}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "acme", "shodan"); !errors.Is(err, fault.DataLoss) || strings.Contains(err.Error(), text) {
		t.Errorf("a text: %v", err)
	}
}
