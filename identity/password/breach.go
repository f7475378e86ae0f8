package password

import (
	"bufio"
	"context"
	"crypto/sha1" // the protocol asks for it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// PwnedPasswords is the range API of Have I Been Pwned: about a billion
// passwords of known breaches.
const PwnedPasswords = "https://api.pwnedpasswords.com"

const (
	breachTimeout = 2 * time.Second // for the whole question
	maxRange      = 1 << 20         // bytes of an answer; real ones are about 40 KiB
)

func newBreachClient() *http.Client {
	return &http.Client{
		Timeout: breachTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// Breached asks the server of Options.BreachURL whether pw was in a known
// breach. The server learns the first 5 hex digits of the password's SHA-1,
// which about two thousand of its passwords share, and not which of them was
// meant; padding hides from onlookers how many there are.
//
// Without a BreachURL it is false. When the server cannot be reached, takes
// longer than 2 seconds, or answers in another format, it is false with an
// error: log it and go on, so that nobody's outage keeps people from choosing
// a password. The error's text holds nothing of the password.
func (p *Passwords) Breached(ctx context.Context, pw string) (bool, error) {
	if p.breachURL == "" {
		return false, nil
	}
	text, err := prepare(pw)
	if err != nil {
		return false, err
	}
	sum := sha1.Sum([]byte(text))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	found, err := p.askRange(ctx, digits[:5], digits[5:])
	if err != nil {
		return false, fmt.Errorf("ask %s for breached passwords: %w", p.breachURL, err)
	}
	return found, nil
}

func (p *Passwords) askRange(ctx context.Context, prefix, suffix string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.breachURL+"/range/"+prefix, nil)
	if err != nil {
		return false, errors.New("its address is not a URL")
	}
	req.Header.Set("Add-Padding", "true")
	req.Header.Set("User-Agent", "ringwall")
	resp, err := p.client.Do(req)
	if err != nil {
		return false, cause(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("it answered %d", resp.StatusCode)
	}
	body := io.LimitedReader{R: resp.Body, N: maxRange + 1}
	found, lines := false, bufio.NewScanner(&body)
	for lines.Scan() {
		hash, count, ok := strings.Cut(lines.Text(), ":")
		if !ok || len(hash) != len(suffix) || !isDecimal(count) {
			return false, errors.New("its answer is not a list of sums and counts")
		}
		// A count of 0 is padding.
		if strings.EqualFold(hash, suffix) && strings.Trim(count, "0") != "" {
			found = true
		}
	}
	if err := lines.Err(); err != nil {
		return false, cause(err)
	}
	if body.N <= 0 {
		return false, fmt.Errorf("its answer is longer than %d bytes", maxRange)
	}
	return found, nil
}

// cause drops the URL, and with it the prefix, from an error of the client.
func cause(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && strings.Contains(err.Error(), "/range/") {
		return u.Unwrap()
	}
	return err
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
