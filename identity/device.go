package identity

import (
	"context"
	"fmt"
)

// knownDevice reports whether somebody has signed in to the account from the
// device, by its sum, within about sessionMemory: its failures then count
// against the device instead of the account (see secretKeys), so that an attack
// does not keep the owner out.
//
// A device cookie that is not known, because it was forged, planted or belongs
// to another account, is worth nothing; a sign-in must not keep it but set a new
// one, or whoever planted it would have a device that is known. A stolen one that
// is known gives its thief a counter besides the account's, and no more.
//
// accountID is "" for an address without an account: the same work is done.
func (s *sessions) knownDevice(ctx context.Context, accountID, device string) (bool, error) {
	if device == "" {
		return false, nil
	}
	known, err := s.store.KnownDevice(ctx, accountID, device)
	if err != nil {
		return false, fmt.Errorf("look up a device: %w", err)
	}
	return known, nil
}
