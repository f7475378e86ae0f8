package openapi

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/ringwall/ringwall/app"
)

// A checker collects the issues of one request.
type checker struct {
	doc    *Document
	steps  int    // that a judge may take for the request
	judge  *judge // nil until there is something to validate
	issues []app.Issue
}

func (c *checker) issue(path, code, message string) {
	c.issues = append(c.issues, app.Issue{Path: path, Code: code, Message: message})
}

// issueAt notes an issue at a place below path. It goes as deep as the names
// are the document's: further ones are the client's words.
func (c *checker) issueAt(path string, location []string, code, message string) {
	c.issue(path+c.pointer(location), code, message)
}

func (c *checker) pointer(location []string) string {
	var b strings.Builder
	for _, token := range location {
		if _, known := c.doc.known[token]; !known && !isIndex(token) {
			break
		}
		b.WriteByte('/')
		b.WriteString(escape(token))
	}
	return b.String()
}

func isIndex(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && len(s) <= 7
}

// mostLeaves bounds what is looked at of a value with many faults.
const mostLeaves = 1000

// validate judges a value and notes what is wrong with it.
func (c *checker) validate(u use, v any, path string) {
	if c.judge == nil {
		c.judge = <-c.doc.judges
		c.judge.steps = c.steps
	}
	result, err := c.judge.validate(u, v)
	switch {
	case result == holds:
		return
	case result == unknown:
		c.issue(path, "too_complex", "takes too long to compare with the described forms")
		return
	case err == nil:
		c.issue(path, "invalid", "is not as described; it is too large to tell where")
		return
	}
	found := len(c.issues)
	var further [][]string // objects with properties that nothing describes
	for _, leaf := range leaves(err, nil) {
		switch k := leaf.ErrorKind.(type) {
		case *kind.Required:
			c.required(path, leaf.InstanceLocation, k.Missing)
		case *kind.DependentRequired:
			c.required(path, leaf.InstanceLocation, k.Missing)
		case *kind.AdditionalProperties:
			further = append(further, leaf.InstanceLocation)
		case *kind.FalseSchema:
			n := len(leaf.InstanceLocation)
			switch {
			case n > 0 && strings.HasSuffix(leaf.SchemaURL, "/unevaluatedProperties"):
				further = append(further, leaf.InstanceLocation[:n-1])
			case n > 0 && c.doc.readOnly(leaf.InstanceLocation[n-1]):
				c.issueAt(path, leaf.InstanceLocation, "read_only", "may not be sent")
			default:
				c.issueAt(path, leaf.InstanceLocation, "forbidden", "may not be sent")
			}
		default:
			d := describe(k)
			c.issueAt(path, leaf.InstanceLocation, d.code, d.message)
		}
	}
	// A part that does not hold counts as describing nothing, so that with a
	// composed object all properties look unknown: the real fault comes first.
	below := c.issues[found:]
	for _, location := range further {
		p := path + c.pointer(location)
		if !slices.ContainsFunc(below, func(i app.Issue) bool { return i.Path == p || strings.HasPrefix(i.Path, p+"/") }) {
			c.issue(p, "unknown", "holds a property that is not described")
		}
	}
}

func (c *checker) required(path string, location, missing []string) {
	for _, name := range missing {
		c.issueAt(path, append(slices.Clip(location), name), "required", "is required")
	}
}

// end gives the judge back.
func (c *checker) end() {
	if c.judge != nil {
		c.doc.judges <- c.judge
	}
}

// result is what the client is told: in one order, each once, at most 20.
func (c *checker) result() []app.Issue {
	if len(c.issues) < 2 {
		return c.issues
	}
	slices.SortFunc(c.issues, func(a, b app.Issue) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	c.issues = slices.Compact(c.issues)
	return c.issues[:min(len(c.issues), maxIssues)]
}

// leaves are the faults themselves, without the schemas that they are met in.
// What fits no branch of anyOf or oneOf is one fault: its branches contradict
// one another.
func leaves(e *jsonschema.ValidationError, list []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Contains, *kind.MinContains, *kind.PropertyNames:
		return append(list, e)
	}
	if len(e.Causes) == 0 {
		return append(list, e)
	}
	for _, cause := range e.Causes {
		if len(list) >= mostLeaves {
			break
		}
		list = leaves(cause, list)
	}
	return list
}

type description struct{ code, message string }

// describe puts a fault into words that hold the schema's values only.
func describe(k jsonschema.ErrorKind) description {
	switch k := k.(type) {
	case *kind.Type:
		return description{"type", "must be " + either(k.Want)}
	case *kind.Const:
		return description{"not_listed", "must be the described value"}
	case *kind.Enum:
		return description{"not_listed", "must be one of the listed values"}
	case *kind.Format:
		switch {
		case k.Want == uniqueFormat:
			return description{"duplicate", "holds an element twice"}
		case strings.HasPrefix(k.Want, enumFormat):
			return description{"not_listed", "must be one of the listed values"}
		}
		return description{"format", "must be a well-formed " + k.Want}
	case *kind.Pattern:
		return description{"pattern", "does not have the expected form"}
	case *kind.MinLength:
		return description{"too_short", "must have at least " + itoa(k.Want) + " characters"}
	case *kind.MaxLength:
		return description{"too_long", "must have at most " + itoa(k.Want) + " characters"}
	case *kind.MinItems:
		return description{"too_short", "must have at least " + itoa(k.Want) + " elements"}
	case *kind.MaxItems:
		return description{"too_long", "must have at most " + itoa(k.Want) + " elements"}
	case *kind.MinProperties:
		return description{"too_short", "must have at least " + itoa(k.Want) + " members"}
	case *kind.MaxProperties:
		return description{"too_long", "must have at most " + itoa(k.Want) + " members"}
	case *kind.Minimum:
		return description{"too_small", "must be at least " + decimal(k.Want)}
	case *kind.Maximum:
		return description{"too_large", "must be at most " + decimal(k.Want)}
	case *kind.ExclusiveMinimum:
		return description{"too_small", "must be more than " + decimal(k.Want)}
	case *kind.ExclusiveMaximum:
		return description{"too_large", "must be less than " + decimal(k.Want)}
	case *kind.MultipleOf:
		return description{"multiple_of", "must be a multiple of " + decimal(k.Want)}
	case *kind.Contains, *kind.MinContains, *kind.MaxContains:
		return description{"contains", "holds too few or too many elements of the described form"}
	case *kind.PropertyNames:
		return description{"key", "has a key that does not have the expected form"}
	case *kind.AnyOf:
		return description{"no_match", "has none of the described forms"}
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return description{"no_match", "has more than one of the described forms"}
		}
		return description{"no_match", "has none of the described forms"}
	case *kind.Not, *kind.FalseSchema:
		return description{"forbidden", "is ruled out"}
	case *kind.Required:
		return description{"required", "lacks " + strings.Join(k.Missing, ", ")}
	case *kind.AdditionalProperties:
		return description{"unknown", "has members that are not described"}
	}
	return description{"invalid", "is not as described"}
}

// either lists types: "a string or null".
func either(names []string) string {
	var list []string
	for _, n := range names {
		switch n {
		case "null":
		case "array", "object", "integer":
			n = "an " + n
		default:
			n = "a " + n
		}
		list = append(list, n)
	}
	return strings.Join(list, " or ")
}

func decimal(r *big.Rat) string {
	s := r.FloatString(9)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}
