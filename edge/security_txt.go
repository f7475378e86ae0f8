package edge

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// securityTxt is served by WellKnown.
var securityTxt = Control{
	Meta: check.Meta{
		ID:    "edge/security-txt",
		Most:  1,
		Title: "Who finds a hole can read whom to tell",
		Why:   "A finder who reaches nobody gives up, or tells the public first; a file that has run out looks as if nobody were there.",
		Ref:   "RFC 9116, 2.5 and 3; blueprint E6, T7",
	},
	Verify: verifySecurityTxt,
}

const securityTxtPath = "/.well-known/security.txt"

func verifySecurityTxt(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API with edge.security_txt as it is in the policy"
	const want = "text/plain with the policy's contacts and a date within a year"
	contacts := p.Edge.SecurityTxt.Contact
	if len(contacts) == 0 {
		return check.Moot("name a contact in edge.security_txt.contact, such as mailto:security@%s", p.Site)
	}
	res, err := c.Do(ctx, probe.Request{Target: securityTxtPath})
	if err != nil {
		return check.Unseen("no answer to GET %s: %v", securityTxtPath, err)
	}
	if why := misread(res, contacts, time.Now()); why != "" {
		return check.Failed("GET "+securityTxtPath+": "+why, want, fix)
	}
	return check.Passed("%s names %s", securityTxtPath, strings.Join(contacts, " and "))
}

// misread says what is wrong with a security.txt; "" is nothing.
func misread(res *probe.Response, contacts []string, now time.Time) string {
	if res.Status != http.StatusOK {
		return res.Line()
	}
	media, params, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if charset, said := params["charset"]; err != nil || media != "text/plain" || said && !strings.EqualFold(charset, "utf-8") {
		return fmt.Sprintf("its type is %.60q", res.Header.Get("Content-Type"))
	}
	fields := map[string][]string{}
	for line := range strings.SplitSeq(string(res.Body), "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if ok && !strings.HasPrefix(line, "#") {
			name = strings.ToLower(name)
			fields[name] = append(fields[name], strings.TrimSpace(value))
		}
	}
	if !slices.Equal(fields["contact"], contacts) {
		return fmt.Sprintf("its contacts are %.200q", fields["contact"])
	}
	if n := len(fields["expires"]); n != 1 {
		return fmt.Sprintf("%d lines of Expires", n)
	}
	end, err := time.Parse(time.RFC3339, fields["expires"][0])
	switch {
	case err != nil:
		return fmt.Sprintf("Expires is %.60q", fields["expires"][0])
	case !now.Before(end):
		return "it has run out on " + end.Format(time.DateOnly)
	case end.After(now.AddDate(1, 0, 1)):
		return "it is to hold for more than a year, until " + end.Format(time.DateOnly)
	}
	return ""
}
