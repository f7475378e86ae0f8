package watch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/policy"
)

const webhookWait = 10 * time.Second

// webhook posts messages. They are signed as Standard Webhooks says
// (standardwebhooks.com, symmetric signatures) when there is a key.
type webhook struct {
	address string // may be a secret: it is in no error
	host    string
	key     []byte
	client  *http.Client
}

func newWebhook(p *policy.Policy, roots *x509.CertPool) (*webhook, error) {
	address := p.Watch.Receiver()
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("watch.webhook: this is not the address of a receiver")
	}
	return &webhook{address: address, host: u.Host, key: p.Watch.WebhookKey.Bytes(), client: &http.Client{
		Timeout: webhookWait,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true, // messages are rare
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		},
		// What is posted is meant for the receiver that the operator named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// send posts a message once. A receiver that answers a second attempt knows it
// by its id.
func (h *webhook) send(ctx context.Context, m *message) error {
	body := m.json()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.address, bytes.NewReader(body))
	if err != nil {
		return final{errors.New("the address is not one of a receiver")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Ringwall")
	at := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Webhook-Id", m.id)
	req.Header.Set("Webhook-Timestamp", at)
	if len(h.key) > 0 {
		req.Header.Set("Webhook-Signature", signature(h.key, m.id, at, body))
	}
	res, err := h.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	switch c := res.StatusCode; {
	case c >= 200 && c < 300:
		return nil
	case c >= 300 && c < 400:
		return final{fmt.Errorf("the receiver answered %d: redirects are not followed", c)}
	case c >= 500, c == http.StatusTooManyRequests, c == http.StatusRequestTimeout, c == http.StatusTooEarly:
		return fmt.Errorf("the receiver answered %d", c)
	default:
		return final{fmt.Errorf("the receiver answered %d", c)}
	}
}

// signature is the value of Webhook-Signature.
func signature(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
