package acme

import "time"

// RenewEvery looks more often than a certificate of 90 days needs.
func (m *Manager) RenewEvery(d time.Duration) { m.renewCheck = d }
