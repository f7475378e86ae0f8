package probe

import (
	"context"
	"sync"
)

// shared are the answers that the checks of one run have in common.
type shared struct {
	mu      sync.Mutex
	answers map[[2]string]sharedAnswer
}

type sharedAnswer struct {
	res *Response
	ex  []Exchange
	of  *Tally
}

// Shared asks for a target with a token as Do does. Where all checks come from one
// address, which each request may bring nearer to a ban, those that ask for the
// same get the answer that the first of them got, with how it was as evidence. What
// was not answered is asked again.
func (c *Client) Shared(ctx context.Context, target, token string) (*Response, error) {
	req := Request{Target: target, Token: token}
	if c.manyAddresses() {
		return c.Do(ctx, req)
	}
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	key := [2]string{target, token}
	a, known := c.shared.answers[key]
	var err error
	if !known {
		log, tally := new(Log), new(Tally)
		a.res, err = c.Do(WithTally(WithLog(ctx, log), tally), req)
		a.ex, a.of = log.Exchanges(), tally
		if err == nil {
			c.shared.answers[key] = a
		}
	}
	log := logOf(ctx)
	for _, e := range a.ex {
		log.note(log.begin(), e.Sent, e.Received)
	}
	if known { // else it was heard as it came
		Told(ctx, a.of)
	}
	return a.res, err
}
