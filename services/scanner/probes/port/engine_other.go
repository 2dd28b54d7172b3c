//go:build !linux

package port

import "context"

// descriptorLimit is what every system that Go runs on allows.
func descriptorLimit() int { return 1024 }

// slot is the Linux engine's; lanes have none here.
type slot struct{}

// sources is the Linux engine's: the dialer chooses source ports itself.
type sources struct{}

func (s *Scanner) connectAll(ctx context.Context, o Options, lanes []*lane) error {
	return s.dialAll(ctx, o, lanes)
}
