package sqlstore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// micros is a time as it is stored: nil for the zero time.
func micros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// since reads a stored time into t.
type since struct{ t *time.Time }

func (s since) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*s.t = time.Time{}
	if n.Valid {
		*s.t = time.UnixMicro(n.Int64).UTC()
	}
	return nil
}

// blob is a byte slice as it is stored: nil for an empty one.
func blob(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// list is a list of words as it is stored.
func list(words []string) string {
	if len(words) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(words) // strings always can
	return string(b)
}

type words struct{ s *[]string }

func (w words) Scan(v any) error {
	var text sql.NullString
	if err := text.Scan(v); err != nil {
		return err
	}
	var got []string
	if err := json.Unmarshal([]byte(text.String), &got); err != nil {
		return fmt.Errorf("a list of roles: %w", err)
	}
	*w.s = nil
	if len(got) > 0 {
		*w.s = got
	}
	return nil
}

// address is a client's address as it is stored: "" for the zero one.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type client struct{ a *netip.Addr }

func (c client) Scan(v any) error {
	var text sql.NullString
	if err := text.Scan(v); err != nil {
		return err
	}
	*c.a = netip.Addr{}
	if text.String == "" {
		return nil
	}
	return c.a.UnmarshalText([]byte(text.String))
}

// texts refuses what not every database can hold: text that is not UTF-8, and
// the character NUL.
func texts(all ...string) error {
	for _, s := range all {
		if !isText(s) {
			return errors.New("a text is not UTF-8 or holds the character NUL")
		}
	}
	return nil
}

func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

const longestUserAgent = 256

// userAgent makes storable what a client calls itself: a stranger's bytes must
// not keep anybody from signing in.
func userAgent(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= longestUserAgent {
		return s
	}
	end := longestUserAgent
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
