package nginx

import (
	"fmt"
	"strings"
)

// A SyntaxError is where a text stops being a configuration of nginx.
type SyntaxError struct {
	File   string
	Line   int
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// maxNesting bounds the blocks in each other; nginx's own are five deep.
const maxNesting = 32

// Parse reads a configuration as nginx does (ngx_conf_read_token). The content
// of a block in another language, such as lua's, is not understood and mostly an
// error. Includes are not followed.
func Parse(file, text string) ([]Directive, error) {
	p := &parser{file: file, text: text, line: 1}
	ds, closed, err := p.block(0)
	if err == nil && closed {
		err = p.wrong("a closing brace too many")
	}
	if err != nil {
		return nil, err
	}
	return ds, nil
}

type parser struct {
	file, text string
	at, line   int
}

func (p *parser) wrong(reason string) error { return &SyntaxError{p.file, p.line, reason} }

// block reads directives up to the end or a closing brace.
func (p *parser) block(depth int) (ds []Directive, closed bool, err error) {
	if depth > maxNesting {
		return nil, false, p.wrong("blocks are nested too deep")
	}
	var words []string
	line := 0
	for {
		word, mark, err := p.token()
		if err != nil {
			return nil, false, err
		}
		switch {
		case mark == 0: // a word
			if len(words) == 0 {
				line = p.line
			}
			words = append(words, word)
			continue
		case mark == '}' || mark == eof:
			if len(words) > 0 {
				return nil, false, p.wrong(fmt.Sprintf("%.60q is not ended by a semicolon", words[0]))
			}
			if mark == eof && depth > 0 {
				return nil, false, p.wrong("a block is not closed")
			}
			return ds, mark == '}', nil
		case len(words) == 0:
			return nil, false, p.wrong(fmt.Sprintf("unexpected %q", mark))
		}
		d := Directive{Name: words[0], Args: words[1:], File: p.file, Line: line}
		words = nil
		if mark == '{' {
			d.IsBlock = true
			if d.Block, _, err = p.block(depth + 1); err != nil {
				return nil, false, err
			}
		}
		ds = append(ds, d)
	}
}

const eof byte = 1

// token is a word, or one of ; { } and the end.
func (p *parser) token() (word string, mark byte, err error) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; c {
		case '\n':
			p.line++
			p.at++
		case ' ', '\t', '\r':
			p.at++
		case '#':
			for p.at < len(p.text) && p.text[p.at] != '\n' {
				p.at++
			}
		case ';', '{', '}':
			p.at++
			return "", c, nil
		case '"', '\'':
			p.at++
			return p.quoted(c)
		default:
			return p.word()
		}
	}
	return "", eof, nil
}

func (p *parser) quoted(end byte) (string, byte, error) {
	var b strings.Builder
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == end:
			p.at++
			if p.at < len(p.text) && !strings.ContainsRune(" \t\r\n;{)", rune(p.text[p.at])) {
				return "", 0, p.wrong("something stands right behind a closing quote")
			}
			return b.String(), 0, nil
		case c == '\\' && p.at+1 < len(p.text):
			p.escaped(&b)
		default:
			if c == '\n' {
				p.line++
			}
			b.WriteByte(c)
		}
	}
	return "", 0, p.wrong("a quote is not closed")
}

func (p *parser) word() (string, byte, error) {
	var b strings.Builder
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case strings.IndexByte(" \t\r\n;", c) >= 0, c == '{' && !strings.HasSuffix(b.String(), "$"):
			return b.String(), 0, nil
		case c == '\\' && p.at+1 < len(p.text):
			p.escaped(&b)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), 0, nil
}

// escaped reads a backslash and what follows it.
func (p *parser) escaped(b *strings.Builder) {
	p.at++
	switch c := p.text[p.at]; c {
	case '"', '\'', '\\':
		b.WriteByte(c)
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'n':
		b.WriteByte('\n')
	default:
		if c == '\n' {
			p.line++
		}
		b.WriteByte('\\')
		b.WriteByte(c)
	}
}
