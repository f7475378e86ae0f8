package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"

	"github.com/ringwall/ringwall/check"
)

// badgeText is what a badge says, and in which colour. A number alone would hide
// what could not be seen.
func badgeText(r check.Report) (text, name, hex string) {
	s := r.Summary()
	proved := fmt.Sprintf("%d of %d proved", s.Pass, len(r.Results))
	switch v, _ := worst(r); {
	case len(r.Results) == 0:
		return "nothing checked", "lightgrey", "#6b6b6b"
	case v == check.Fail:
		return fmt.Sprintf("%d failed", s.Fail), "red", "#b3261e"
	case v == check.Unknown:
		return fmt.Sprintf("%d unknown", s.Unknown), "yellow", "#8a6100"
	case s.Waived > 0:
		return fmt.Sprintf("%s, %d waived", proved, s.Waived), "green", "#1b6e3c"
	}
	return proved, "brightgreen", "#1b6e3c"
}

// Shields writes the JSON that shields.io takes from an endpoint, version 1.
func Shields(w io.Writer, r check.Report) error {
	text, color, _ := badgeText(r)
	v, _ := worst(r)
	return json.NewEncoder(w).Encode(struct {
		SchemaVersion int    `json:"schemaVersion"`
		Label         string `json:"label"`
		Message       string `json:"message"`
		Color         string `json:"color"`
		IsError       bool   `json:"isError"`
	}{1, "ringwall", text, color, bad(v)})
}

var badge = template.Must(template.New("badge").Parse(`<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="20" role="img" aria-label="ringwall: {{.Text}}">
<title>ringwall: {{.Text}}</title>
<rect width="{{.Left}}" height="20" fill="#333"/>
<rect x="{{.Left}}" width="{{.Right}}" height="20" fill="{{.Color}}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{{.LeftAt}}" y="14">ringwall</text>
<text x="{{.RightAt}}" y="14" textLength="{{.Length}}">{{.Text}}</text>
</g>
</svg>
`))

// Badge writes the report's outcome as a small SVG that needs no font, script or
// address of its own.
func Badge(w io.Writer, r check.Report) error {
	text, _, color := badgeText(r)
	const left = 62
	length := 0.0
	for range text {
		length += 6.6 // about what Verdana takes; textLength fits the rest
	}
	right := int(length) + 16
	return badge.Execute(w, map[string]any{"Text": text, "Color": color, "Left": left, "Right": right, "Width": left + right,
		"LeftAt": left / 2, "RightAt": left + right/2, "Length": int(length)})
}
