//go:build !linux

package port

import "context"

// slot is the Linux engine's; lanes have none here.
type slot struct{}

// sources is the Linux engine's: the dialer chooses source ports itself.
type sources struct{}

func (s *Scanner) connectAll(ctx context.Context, o Options, lanes []*lane) error {
	return s.dialAll(ctx, o, lanes)
}
