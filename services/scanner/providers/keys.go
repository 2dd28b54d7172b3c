package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/secret"
)

const (
	// keyMemory is how long a key, or that there is none, is remembered: what is changed works everywhere after it. Secrets
	// Manager charges for every read.
	keyMemory = time.Minute
	// maxKeys bounds what is remembered.
	maxKeys = 10_000
)

// keys reads the tenants' credentials and remembers them for a short time, in this process only.
type keys struct {
	secrets secret.Reader

	mu    sync.Mutex
	known map[[2]string]knownKey
}

type knownKey struct {
	credential *modelv1.ProviderCredential // nil: the tenant has none
	read       time.Time
}

// of gives a tenant's credential; one that does not exist is nil. An error says that it is not known.
func (k *keys) of(ctx context.Context, tenant string, p *Provider) (*modelv1.ProviderCredential, error) {
	if k.secrets == nil {
		return nil, nil
	}
	place := [2]string{tenant, p.Name}
	k.mu.Lock()
	known, ok := k.known[place]
	k.mu.Unlock()
	if ok && time.Since(known.read) < keyMemory {
		return known.credential, nil
	}
	known = knownKey{read: time.Now()}
	value, err := k.secrets.Get(ctx, tenant, p.Name)
	switch {
	case errors.Is(err, fault.NotFound):
	case err != nil:
		return nil, err
	default:
		known.credential = &modelv1.ProviderCredential{}
		if proto.Unmarshal(value, known.credential) != nil || known.credential.GetKey() == "" {
			return nil, fault.New(fault.DataLoss, "read key for %s: what is stored is none; store it again", p.Name)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxKeys {
		k.known = map[[2]string]knownKey{}
	}
	k.known[place] = known
	return known.credential, nil
}

// ledgerOf names the ledger of a key. A provider limits a key and not a tenant: two tenants with one key share one ledger, and
// each learns no more from it than the provider shows to whoever has the key. Providers without keys limit our address: all
// tenants share that one.
func ledgerOf(p *Provider, credential *modelv1.ProviderCredential) string {
	if !p.Keyed() {
		return "provider#" + p.Name
	}
	sum := sha256.Sum256([]byte(p.Name + "\x00" + credential.GetKey()))
	return "provider#" + p.Name + "#" + hex.EncodeToString(sum[:16])
}
