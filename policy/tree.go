package policy

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A converter makes a tree of nodes from the parser's.
type converter struct {
	doc  *document
	errs Errors
}

func (c *converter) say(at position, path, hint, format string, args ...any) {
	c.errs = append(c.errs, c.doc.mistake(at, path, hint, fmt.Sprintf(format, args...)))
}

// start is the place of a node's first character: the parser gives a table the
// token of its first colon.
func start(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return at(m.Values[0].Key.GetToken())
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return at(m.Key.GetToken())
	}
	return at(n.GetToken())
}

func (c *converter) node(path string, n ast.Node) *node {
	out := &node{at: start(n)}
	if path != "" {
		c.doc.index[path] = out
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		out.kind, out.value = text, n.Value
		out.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		out.kind, out.value, out.quoted = text, n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.value = number, n.GetToken().Value
	case *ast.BoolNode:
		out.kind, out.value = boolean, n.GetToken().Value
	case *ast.SequenceNode:
		out.kind = list
		for i, v := range n.Values {
			out.items = append(out.items, c.node(item(path, i), v))
		}
	case *ast.MappingNode:
		out.kind = table
		c.entries(path, out, n.Values)
	case *ast.MappingValueNode:
		out.kind = table
		c.entries(path, out, []*ast.MappingValueNode{n})
	case *ast.AnchorNode, *ast.AliasNode:
		out.kind = refused
		c.say(out.at, path, "write the value out", "anchors (&) and aliases (*) are not for policies")
	case *ast.TagNode, *ast.DirectiveNode:
		out.kind = refused
		c.say(out.at, path, "write the plain value", "YAML tags and directives are not for policies")
	default:
		out.kind = refused
		c.say(out.at, path, "", "this kind of YAML (%s) is not for policies", n.Type())
	}
	return out
}

func (c *converter) entries(path string, out *node, values []*ast.MappingValueNode) {
	seen := map[string]position{}
	for _, v := range values {
		key, ok := v.Key.(ast.ScalarNode)
		keyAt := at(v.Key.GetToken())
		if _, merge := v.Key.(*ast.MergeKeyNode); merge || !ok {
			c.say(keyAt, path, "write `name: value`", "only plain names can be keys, and there is no merging with <<")
			continue
		}
		name := key.GetToken().Value
		if strings.ContainsFunc(name, unprintable) || name == "" {
			c.say(keyAt, path, "write `name: value`", "a key is empty or has a control character")
			continue
		}
		if first, dup := seen[name]; dup {
			c.say(keyAt, child(path, name), "keep one", "this key stands twice, first on line %d", first.line)
			continue
		}
		seen[name] = keyAt
		if v.Value == nil {
			continue
		}
		n := c.node(child(path, name), v.Value)
		n.key, n.keyAt = name, keyAt
		out.items = append(out.items, n)
	}
}
