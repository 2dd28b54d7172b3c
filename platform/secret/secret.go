// Package secret is the store of secrets of tenants: short values, such as keys for third parties, that are written by one
// service, read by another, and seen by nobody else.
//
// A value is bound to its tenant and its name: what was stored under one is never returned under another. It refuses to say a
// value in an error, to list values, and to keep versions.
package secret

import (
	"context"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

const (
	// MaxValueBytes bounds one value. Secrets Manager takes 64 KiB (CreateSecret, SecretBinary:
	// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html); a key for a third party is a line.
	MaxValueBytes = 4 << 10
	// MaxTenantBytes bounds a tenant. Ours: with the name it is well below the 512 characters that the name of a secret may have
	// in Secrets Manager.
	MaxTenantBytes = 64
	// MaxNameBytes bounds a name.
	MaxNameBytes = 64
	// MaxNames bounds the secrets of one tenant that List returns.
	MaxNames = 1000
)

// Reader reads secrets. Safe for concurrent use.
type Reader interface {
	// Get returns the value. No such secret is [fault.NotFound]; a value that was damaged or moved is [fault.DataLoss].
	Get(ctx context.Context, tenant, name string) ([]byte, error)
}

// Writer writes secrets and never reads them. Safe for concurrent use.
type Writer interface {
	// Put stores a value, in place of an earlier one if there is one, and returns when it is durable.
	Put(ctx context.Context, tenant, name string, value []byte) error
	// Delete removes a secret for good. Deleting what is not there is success.
	Delete(ctx context.Context, tenant, name string) error
	// List returns the names of a tenant's secrets in byte order. It may lag behind Put and Delete by seconds, as Secrets
	// Manager's does.
	List(ctx context.Context, tenant string) ([]string, error)
}

// Store is both.
type Store interface {
	Reader
	Writer
}

// CheckTenant returns [fault.Invalid] unless tenant can be a part of a secret's place: see [Check].
func CheckTenant(tenant string) error { return part("tenant", tenant, MaxTenantBytes) }

// Check returns [fault.Invalid] unless both are 1 to their maximum of a-z, 0-9, "-" and "_", and begin with a letter or a
// digit: the same in a file name and in the name of a secret of any service.
func Check(tenant, name string) error {
	if err := CheckTenant(tenant); err != nil {
		return err
	}
	return part("name", name, MaxNameBytes)
}

// CheckValue returns [fault.Invalid] unless value is 1 to [MaxValueBytes] bytes.
func CheckValue(value []byte) error {
	if len(value) == 0 || len(value) > MaxValueBytes {
		return fault.New(fault.Invalid, "store secret: the value has %d bytes, 1 to %d are allowed", len(value), MaxValueBytes)
	}
	return nil
}

func part(what, text string, limit int) error {
	bad := text == "" || len(text) > limit
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			bad = true
		}
	}
	if bad {
		return fault.New(fault.Invalid, "name a secret: the %s must be 1 to %d of a-z, 0-9, \"-\" and \"_\", and begin with a letter or a digit", what, limit)
	}
	return nil
}
