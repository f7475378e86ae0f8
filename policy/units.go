package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A misfit says why a text is not a value of its kind, and what would be.
type misfit struct{ reason, hint string }

func (m *misfit) Error() string { return m.reason }

const day = 24 * time.Hour

var durationUnits = []struct {
	name string
	size time.Duration
}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}

const durationHint = "durations are written 30s, 15m, 1h30m or 30d"

// ParseDuration reads a duration as policies write it: 30s, 15m, 1h30m or 30d.
func ParseDuration(s string) (time.Duration, error) {
	d, err := parseDuration(s)
	if m, ok := err.(*misfit); ok {
		err = fmt.Errorf("%s: %s", m.reason, m.hint)
	}
	return d, err
}

// parseDuration reads whole days, hours, minutes and seconds, each at most
// once and in that order.
func parseDuration(s string) (time.Duration, error) {
	if isDigits(s) {
		return 0, &misfit{quote(s) + " has no unit", "write " + s + "s for seconds; " + durationHint}
	}
	var total time.Duration
	rest, units := s, durationUnits
	for rest != "" {
		n := 0
		for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		u := 0
		for u < len(units) && !strings.HasPrefix(rest[n:], units[u].name) {
			u++
		}
		if n == 0 || u == len(units) {
			return 0, &misfit{quote(s) + " is not a duration", plainDuration(s)}
		}
		count, err := strconv.ParseInt(rest[:n], 10, 64)
		if err != nil || count > int64((math.MaxInt64-total)/units[u].size) {
			return 0, &misfit{quote(s) + " is too long", durationHint}
		}
		total += time.Duration(count) * units[u].size
		rest, units = rest[n+1:], units[u+1:]
	}
	if s == "" {
		return 0, &misfit{`"" is not a duration`, durationHint}
	}
	return total, nil
}

// plainDuration is the hint for a duration that is written in another way.
func plainDuration(s string) string {
	plain := strings.NewReplacer(" ", "", "days", "d", "day", "d", "hours", "h", "hour", "h", "hrs", "h", "hr", "h",
		"minutes", "m", "minute", "m", "mins", "m", "min", "m", "seconds", "s", "second", "s", "secs", "s", "sec", "s").Replace(strings.ToLower(s))
	if plain != s && plain != "" {
		if _, err := parseDuration(plain); err == nil {
			return "write " + plain
		}
	}
	return durationHint
}

// formatDuration writes what parseDuration reads.
func formatDuration(d time.Duration) string {
	if d <= 0 || d%time.Second != 0 {
		return d.String() // 0s; the others are no durations of a policy, and Validate says so
	}
	var b strings.Builder
	for _, u := range durationUnits {
		if n := d / u.size; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			d -= n * u.size
		}
	}
	return b.String()
}

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GB", 1e9}, {"GiB", 1 << 30}, {"MB", 1e6}, {"MiB", 1 << 20}, {"kB", 1e3}, {"KiB", 1 << 10}, {"B", 1},
}

const sizeHint = "sizes are written 200kB, 64MB or 1GB, or 64MiB for powers of 1024"

func parseSize(s string) (Size, error) {
	n := len(s)
	for n > 0 && (s[n-1] < '0' || s[n-1] > '9') {
		n--
	}
	digits, unit := s[:n], s[n:]
	if !isDigits(digits) {
		return 0, &misfit{quote(s) + " is not a size", sizeHint}
	}
	if unit == "" {
		hint := sizeHint
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			hint = "write " + Size(n).String() + " for that many bytes; " + sizeHint
		}
		return 0, &misfit{quote(s) + " has no unit", hint}
	}
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		count, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || count > math.MaxInt64/u.bytes {
			return 0, &misfit{quote(s) + " is too large", sizeHint}
		}
		return Size(count * u.bytes), nil
	}
	unit = strings.TrimSpace(unit)
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, unit) || strings.EqualFold(u.name, unit+"B") {
			return 0, &misfit{quote(s) + " is not a size", "write " + digits + u.name}
		}
	}
	return 0, &misfit{quote(s) + " is not a size", sizeHint}
}

// String writes the size as a policy does, without loss: 200kB, 64MiB, 1B.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return "0B"
}

func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, &misfit{quote(s) + " is not a day", "days are written 2027-01-31"}
	}
	return t, nil
}

// parsePrefix reads an address or a prefix. A v4-mapped IPv6 one is folded to
// IPv4, as client addresses are.
func parsePrefix(s string) (netip.Prefix, error) {
	const hint = "write an address such as 192.0.2.1, or a prefix such as 10.0.0.0/8"
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, &misfit{quote(s) + " is not an address", hint}
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, &misfit{quote(s) + " is not a prefix", hint}
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, &misfit{quote(s) + " holds all of IPv4: it is everybody", "name the addresses that you mean: a proxy's, an office's, your own"}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if least := map[bool]int{true: 8, false: 7}[p.Addr().Is4()]; p.Bits() < least {
		reason := " is too wide to be one's own"
		if p.Bits() == 0 {
			reason = " is everybody"
		}
		return netip.Prefix{}, &misfit{quote(s) + reason, "name the addresses that you mean: a proxy's, an office's, your own"}
	}
	if p != p.Masked() {
		return netip.Prefix{}, &misfit{quote(s) + " has bits outside its prefix", "write " + p.Masked().String()}
	}
	return p, nil
}

func parseInt(s string) (int64, error) {
	if !isDigits(s) || len(s) > 1 && s[0] == '0' {
		return 0, &misfit{quote(s) + " is not a whole number", "write digits only"}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, &misfit{quote(s) + " is too large", ""}
	}
	return n, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, &misfit{quote(s) + " is neither true nor false", "write true or false"}
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// quote prepares a value for a message: quoted, escaped, cut at 60 bytes.
func quote(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	return strconv.Quote(s)
}

// misfitOf gives any error a reason and a hint.
func misfitOf(err error) *misfit {
	var m *misfit
	if errors.As(err, &m) {
		return m
	}
	return &misfit{reason: err.Error()}
}
