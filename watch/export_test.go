package watch

import "context"

// Signature is what a webhook signs with.
var Signature = signature

// Hook has n post by a function in the place of HTTP, until a Reload.
func Hook(n *Notifier, send func(ctx context.Context, body []byte) error) {
	s := *n.settings.Load()
	s.ways[byWebhook] = func(ctx context.Context, m *message) error { return send(ctx, m.json()) }
	n.settings.Store(&s)
}

// Final is an error that trying again does not mend.
func Final(err error) error { return final{err} }
