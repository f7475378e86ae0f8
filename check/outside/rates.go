package outside

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check/probe"
)

// limits reads what an answer says of a rate limit: the IETF's fields of the
// current draft and of earlier ones, and what was usual before. left is -1 when
// it says nothing.
func limits(res *probe.Response) (said string, left int) {
	left = -1
	take := func(name, v string) {
		if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil && (left < 0 || n < left) {
			left = n
		}
		said = fmt.Sprintf("%s: %.60s", name, v)
	}
	for _, name := range []string{"X-Ratelimit-Remaining", "X-Rate-Limit-Remaining", "Ratelimit-Remaining"} {
		if v := res.Header.Get(name); v != "" {
			take(name, v)
		}
	}
	for _, line := range res.Header.Values("Ratelimit") {
		for item := range strings.SplitSeq(line, ",") {
			for part := range strings.FieldsFuncSeq(item, func(r rune) bool { return r == ';' || r == ' ' }) {
				name, v, _ := strings.Cut(part, "=")
				if name == "remaining" || name == "r" {
					take("RateLimit", v)
					said = "RateLimit: " + strings.TrimSpace(line)
				}
			}
			// Earlier drafts wrote limit=, remaining=, reset= as items of their own.
			if name, v, _ := strings.Cut(strings.TrimSpace(item), "="); name == "remaining" {
				take("RateLimit", v)
				said = "RateLimit: " + strings.TrimSpace(line)
			}
		}
	}
	return said, left
}

// limited reports whether a limit refused the request. 503 is nginx's default.
func limited(res *probe.Response) bool {
	return res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable
}
