package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// LoadOptions say how a policy is read.
type LoadOptions struct {
	// Dev loosens what only a developer's own machine may have: a site and
	// http:// origins on loopback, and values from a .env file.
	Dev bool

	// Environ holds the variables, as os.Environ gives them, and is asked for
	// when nil. An empty list means none.
	Environ []string

	// Now dates the waivers; nil: time.Now.
	Now func() time.Time
}

// Load reads the policy file. The error, if any, is Errors with every mistake;
// the policy is then nil.
func Load(file string, opts LoadOptions) (*Policy, error) {
	src, err := readFile(file)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = "`ringwall init` writes one"
		}
		return nil, Errors{{File: file, Reason: err.Error(), Hint: hint, cause: err}}
	}
	return Parse(file, src, opts)
}

// readFile reads no more than Parse accepts and one byte.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", errors.Unwrap(err))
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	return src, nil
}

// Parse is Load for a file that is read already. Its name stands in errors, and
// its folder is where relative paths, secrets/ and .env are looked for.
func Parse(name string, yaml []byte, opts LoadOptions) (*Policy, error) {
	if opts.Environ == nil {
		opts.Environ = os.Environ()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return parse(name, filepath.Dir(name), yaml, opts)
}

// parse looks for no files when the folder is "".
func parse(name, folder string, yaml []byte, opts LoadOptions) (*Policy, error) {
	doc, errs := parseDocument(name, yaml)
	if doc == nil {
		return nil, errs
	}
	p := &Policy{dev: opts.Dev, folder: folder, doc: doc, origin: map[string]string{}}
	l := &loader{p: p, doc: doc, bad: map[string]bool{}}
	for _, e := range errs {
		l.add(e)
	}
	v := reflect.ValueOf(p).Elem()
	setDefaults(v)
	l.table("", doc.root, v)
	l.environment(opts)
	l.required()
	l.rules(opts.Now())
	if len(l.errs) > 0 {
		l.errs.sort(name)
		return nil, l.errs
	}
	return p, nil
}

// Default is a policy with every default, for the site localhost. It reads
// neither a file nor the environment.
func Default() *Policy {
	p := &Policy{Site: "localhost", folder: "."}
	setDefaults(reflect.ValueOf(p).Elem())
	return p
}

// Validate judges a policy that was made or changed by a Go program as Load
// judges a file. The places in its Errors are those in what Show writes. Waivers
// are dated by now.
func (p *Policy) Validate(now time.Time) error {
	opts := LoadOptions{Dev: p.dev, Environ: []string{}, Now: func() time.Time { return now }}
	for name := range Default().App.Limits {
		if _, ok := p.App.Limits[name]; !ok {
			return Errors{{Path: "app.limits", Reason: "the class " + name + " is missing", Hint: "change the one that Default gives"}}
		}
	}
	_, err := parse("policy", "", p.Show(), opts)
	return err
}

// Dev reports whether the policy was loaded for a developer's own machine.
func (p *Policy) Dev() bool { return p.dev }

// File resolves a file that the policy names: relative to the policy's folder.
// "" stays "".
func (p *Policy) File(rel string) string {
	if rel == "" || filepath.IsAbs(rel) {
		return rel
	}
	return filepath.Join(p.folder, rel)
}

// Waived returns the waiver of a control, expired or not.
func (p *Policy) Waived(control string) (Waiver, bool) {
	for _, w := range p.Waivers {
		if w.Control == control {
			return w, true
		}
	}
	return Waiver{}, false
}

// NoControl is the error of the waiver at an index that names none of a ring's
// controls.
func (p *Policy) NoControl(waiver int, controls []string) error {
	name, hint := p.Waivers[waiver].Control, "docs/controls.md and docs/host.md list the controls"
	if near := Nearest(name, controls); near != "" {
		hint = "did you mean " + near + "?"
	}
	return p.Errorf(fmt.Sprintf("waivers[%d].control", waiver), hint, "no control is called %q", name)
}

// Expired reports whether the waiver's last day is over, in UTC.
func (w Waiver) Expired(now time.Time) bool { return !now.Before(w.Until.AddDate(0, 0, 1)) }

// Errorf makes an *Error about a key, such as app.routes[2].path, that shows
// where the value comes from: the place in the file, the nearest key around it
// when it is not written there, or the environment variable. The hint says
// what to do and may be "". An error given with %w can be unwrapped.
func (p *Policy) Errorf(path, hint, format string, args ...any) error {
	cause := fmt.Errorf(format, args...)
	e := &Error{Path: path, Reason: cause.Error(), Hint: hint, cause: errors.Unwrap(cause)}
	for at := path; at != ""; at = parent(at) {
		if from := p.origin[at]; from != "" {
			e.File = from
			return e
		}
	}
	if p.doc == nil {
		return e
	}
	n := p.doc.find(path)
	if n == nil {
		e.File = p.doc.file
		return e
	}
	placed := p.doc.mistake(n.place(), path, hint, e.Reason)
	placed.cause = e.cause
	return placed
}

// required says which keys are missing, all over the policy.
func (l *loader) required() {
	l.requiredIn("", reflect.ValueOf(l.p).Elem())
}

func (l *loader) requiredIn(path string, v reflect.Value) {
	for _, f := range fields(v.Type()) {
		fv, here := v.Field(f.index), child(path, f.key)
		switch {
		case isLeaf(fv.Type()):
			if f.required && fv.IsZero() && !l.spoiled(here) {
				lack := "missing"
				if l.doc.index[here] != nil {
					lack = "empty"
				}
				l.errorf(here, "give "+f.key+": "+f.describe(), "it is %s", lack)
			}
		case fv.Kind() == reflect.Struct:
			l.requiredIn(here, fv)
		case fv.Kind() == reflect.Slice:
			for i := range fv.Len() {
				l.requiredIn(item(here, i), fv.Index(i))
			}
		case fv.Kind() == reflect.Map && fv.Type().Elem().Kind() == reflect.Struct:
			for _, k := range sortedKeys(fv) {
				l.requiredIn(child(here, k), fv.MapIndex(reflect.ValueOf(k)))
			}
		}
	}
}

func sortedKeys(m reflect.Value) []string {
	var keys []string
	for _, k := range m.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// errorf adds a mistake at a path, unless one is there already.
func (l *loader) errorf(path, hint, format string, args ...any) {
	if !l.spoiled(path) {
		l.add(l.p.Errorf(path, hint, format, args...).(*Error))
	}
}
