package acme

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// handedOn waits until the nginx of this machine hands a challenge for the site to
// this process. It is false when ctx ends before.
func (m *Manager) handedOn(ctx context.Context) bool {
	if m.through == "" {
		return true
	}
	host, port, err := net.SplitHostPort(m.through)
	if err != nil {
		return true // the policy has judged it
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, port) + edge.ChallengePath + m.probe
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for said := false; ; said = true {
		if m.probed(ctx, client, url) {
			return true
		}
		if !said {
			m.log.Info("no authority is asked before nginx hands its challenges on; next: ringwall nginx install", "site", m.site)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
	}
}

func (m *Manager) probed(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	req.Host = m.site
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
	return string(b) == m.probe
}
