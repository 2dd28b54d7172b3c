package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	"github.com/riskprofiler/riskprofiler/platform/blob"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
)

// answerKey is where the pointer to an answer lies: of one tenant, because what a key may see belongs to whoever has it.
func (d *Desk) answerKey(a *ask) table.Key {
	page := ""
	if a.page != "" { // a cursor may be longer than a key
		sum := sha256.Sum256([]byte(a.page))
		page = "#" + hex.EncodeToString(sum[:16])
	}
	return table.Key{Partition: "T#" + d.tenant + "#I#" + a.provider.Name + "#" + a.operation, Sort: a.subject + page}
}

// remembered reads an answer that is still fresh. Whatever goes wrong with it, the provider can be asked.
func (d *Desk) remembered(ctx context.Context, a *ask) bool {
	item, err := d.client.ledgers.table.Get(ctx, d.answerKey(a))
	if err != nil {
		return false
	}
	known, err := protoitem.Decode(item, &scannerv1.CachedAnswer{})
	if err != nil || time.Since(known.GetAskedAt().AsTime()) >= a.provider.fresh {
		return false
	}
	if known.GetBlob() != "" {
		body, err := d.client.options.Evidence.Get(ctx, known.GetBlob())
		if err != nil || a.read(body) != nil {
			return false
		}
	}
	a.report.AskedAt, a.blob = known.GetAskedAt(), known.GetBlob()
	return true
}

// remember keeps the answer as evidence, and then the pointer to it.
func (d *Desk) remember(ctx context.Context, a *ask, r reply, asked time.Time) {
	known := &scannerv1.CachedAnswer{AskedAt: timestamppb.New(asked)}
	err := func() error {
		if !r.absent {
			known.Blob = blob.ContentKey(d.tenant, a.provider.Name, r.body)
			if err := d.client.options.Evidence.Put(ctx, known.GetBlob(), r.body); err != nil {
				return err
			}
			a.blob = known.GetBlob()
		}
		item, err := protoitem.New(d.answerKey(a), known)
		if err != nil {
			return err
		}
		item.Expires = asked.Add(a.provider.fresh)
		return d.client.ledgers.table.Write(ctx, table.Write{Item: item, If: table.Any})
	}()
	if err != nil {
		d.client.options.Logger.WarnContext(ctx, "an answer of a third party could not be kept", slog.String("provider", a.provider.Name), slog.Any("error", err))
	}
}

// pointers remembers which pointers this process wrote.
type pointers struct {
	mu   sync.Mutex
	seen map[[2]string]string
}

// point notes which ledger a tenant's key has, so that the tenant can be shown it without the key.
func (c *Client) point(ctx context.Context, tenant string, a *ask) {
	place := [2]string{tenant, a.provider.Name}
	c.pointed.mu.Lock()
	known := c.pointed.seen[place] == a.ledger
	c.pointed.mu.Unlock()
	if known {
		return
	}
	item, err := protoitem.New(table.Key{Partition: quotasOf(tenant), Sort: a.provider.Name}, &scannerv1.QuotaPointer{Ledger: a.ledger})
	if err == nil {
		err = c.ledgers.table.Write(ctx, table.Write{Item: item, If: table.Any})
	}
	if err != nil {
		c.options.Logger.WarnContext(ctx, "the quota of a third party cannot be shown", slog.String("provider", a.provider.Name), slog.Any("error", err))
		return
	}
	c.pointed.mu.Lock()
	defer c.pointed.mu.Unlock()
	if c.pointed.seen == nil || len(c.pointed.seen) >= maxKeys {
		c.pointed.seen = map[[2]string]string{}
	}
	c.pointed.seen[place] = a.ledger
}

func quotasOf(tenant string) string { return "T#" + tenant + "#Q" }
