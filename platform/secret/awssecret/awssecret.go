// Package awssecret keeps secrets in AWS Secrets Manager: the driver of package secret for AWS. A secret is named
// <prefix>/tenants/<tenant>/<name>, so that permissions can tell tenants' secrets from a deployment's own, and encrypted under the account's key for Secrets Manager.
//
// A deleted secret is gone at once, without the recovery window: a tenant who takes a key away means it. Secrets Manager deletes
// in the background, so a secret that is stored again within seconds of its deletion may be refused for a moment; Put tries again
// for as long as one call may take.
package awssecret

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go/logging"

	"github.com/riskprofiler/riskprofiler/platform/awsclient"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
)

// Folder stands between a deployment's prefix and a tenant, in the name of every secret.
const Folder = "/tenants/"

const (
	// callTimeout bounds one call with the SDK's retries.
	callTimeout = 10 * time.Second
	// deleting is how long Put waits between tries while the deletion of an earlier secret is still under way.
	deleting = 500 * time.Millisecond
	// pageSize is the most that ListSecrets returns at a time:
	// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
	pageSize = 100
)

// Store implements secret.Store.
type Store struct {
	client   *secretsmanager.Client
	location awsclient.Location
}

var _ secret.Store = (*Store)(nil)

// Open makes a store. It calls nothing.
func Open(config aws.Config, l awsclient.Location) *Store {
	return &Store{location: l, client: secretsmanager.NewFromConfig(config, func(o *secretsmanager.Options) {
		o.BaseEndpoint = l.EndpointOf("secretsmanager")
		o.Logger = logging.Nop{} // its lines are not those of our log; what fails comes back as an error
		o.Retryer = awsclient.NewRetryer()
	})}
}

func (s *Store) name(tenant, name string) string {
	return s.location.Prefix + Folder + tenant + "/" + name
}

// Get implements secret.Store.
func (s *Store) Get(ctx context.Context, tenant, name string) ([]byte, error) {
	if err := secret.Check(tenant, name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(s.name(tenant, name))})
	if absent(err) {
		return nil, fault.New(fault.NotFound, "read secret: there is no %s of this tenant", name)
	}
	if err != nil {
		return nil, s.fault(err, "read secret", tenant, name)
	}
	if len(out.SecretBinary) == 0 {
		return nil, fault.New(fault.DataLoss, "read secret %s: it has no binary value; store it again", name)
	}
	return out.SecretBinary, nil
}

// Put implements secret.Store: a new version of the secret, or the secret if there is none.
func (s *Store) Put(ctx context.Context, tenant, name string, value []byte) error {
	if err := secret.Check(tenant, name); err != nil {
		return err
	}
	if err := secret.CheckValue(value); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		err := s.put(ctx, s.name(tenant, name), value)
		var busy *types.InvalidRequestException
		var exists *types.ResourceExistsException
		if err == nil || !errors.As(err, &busy) && !errors.As(err, &exists) {
			return s.fault(err, "store secret", tenant, name)
		}
		t := time.NewTimer(deleting)
		select {
		case <-ctx.Done():
			t.Stop()
			return s.fault(err, "store secret", tenant, name)
		case <-t.C:
		}
	}
}

func (s *Store) put(ctx context.Context, id string, value []byte) error {
	_, err := s.client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &id, SecretBinary: value})
	var missing *types.ResourceNotFoundException
	if !errors.As(err, &missing) {
		return err
	}
	_, err = s.client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: &id, SecretBinary: value, Description: aws.String("A tenant's key for a third party, written by RiskProfiler"),
	})
	return err
}

// Delete implements secret.Store.
func (s *Store) Delete(ctx context.Context, tenant, name string) error {
	if err := secret.Check(tenant, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := s.client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{
		SecretId: aws.String(s.name(tenant, name)), ForceDeleteWithoutRecovery: aws.Bool(true),
	})
	if absent(err) {
		return nil
	}
	return s.fault(err, "delete secret", tenant, name)
}

// List implements secret.Store.
func (s *Store) List(ctx context.Context, tenant string) ([]string, error) {
	if err := secret.CheckTenant(tenant); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	prefix := s.name(tenant, "")
	pages := secretsmanager.NewListSecretsPaginator(s.client, &secretsmanager.ListSecretsInput{
		MaxResults: aws.Int32(pageSize), Filters: []types.Filter{{Key: types.FilterNameStringTypeName, Values: []string{prefix}}},
	})
	var names []string
	for pages.HasMorePages() && len(names) < secret.MaxNames {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s.fault(err, "list secrets", tenant, "*")
		}
		for _, entry := range page.SecretList {
			name, ok := strings.CutPrefix(aws.ToString(entry.Name), prefix)
			if ok && entry.DeletedDate == nil && secret.Check(tenant, name) == nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names[:min(len(names), secret.MaxNames)], nil
}

// absent says that there is no such secret, or one that is being deleted, which Secrets Manager calls an invalid request:
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
func absent(err error) bool {
	var missing *types.ResourceNotFoundException
	var busy *types.InvalidRequestException
	return errors.As(err, &missing) || errors.As(err, &busy) && strings.Contains(busy.ErrorMessage(), "deletion")
}

func (s *Store) fault(err error, verb, tenant, name string) error {
	return awsclient.Fault(err, verb+" "+name, awsclient.Resource{Kind: "secret", Name: s.name(tenant, name), Region: s.location.Region})
}
