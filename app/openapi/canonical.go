package openapi

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// uniqueItems and most enums are judged here, not by the library: it compares a
// value with every one of an enum, before the first step, and its hash of elements takes
// ["a\u0004b"] and ["a","b"] for one, so that a client can make it compare each
// with each. They go in as formats, which the library lets judge any value.
const (
	uniqueFormat = "ringwall-unique"
	enumFormat   = "ringwall-enum-" // and a number
)

var (
	errTwice     = errors.New("an element stands twice")
	errNotListed = errors.New("not one of the listed values")
)

// unique is uniqueItems. It costs steps by the length of what it compares.
func (j *judge) unique(v any) error {
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(list))
	var key []byte
	for _, e := range list {
		key = appendCanonical(key[:0], e)
		j.charge(len(key) / bytesPerStep)
		if _, twice := seen[string(key)]; twice {
			return errTwice
		}
		seen[string(key)] = struct{}{}
	}
	return nil
}

// listed is one enum.
func listed(name string, values []any) *jsonschema.Format {
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		set[string(appendCanonical(nil, v))] = struct{}{}
	}
	return &jsonschema.Format{Name: name, Validate: func(v any) error {
		var room [64]byte
		if _, ok := set[string(appendCanonical(room[:0], v))]; !ok {
			return errNotListed
		}
		return nil
	}}
}

// appendCanonical appends a form of v that two values share when JSON Schema
// (2020-12 core, 4.2.2) calls them equal, and only then: 1, 1.0 and 10e-1 are
// one number, and the order of an object's members does not count.
func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 'z')
	case bool:
		if v {
			return append(b, 't')
		}
		return append(b, 'f')
	case string:
		b = binary.AppendUvarint(append(b, 's'), uint64(len(v)))
		return append(b, v...)
	case json.Number:
		return appendNumber(append(b, 'n'), string(v))
	case []any:
		b = binary.AppendUvarint(append(b, 'a'), uint64(len(v)))
		for _, e := range v {
			b = appendCanonical(b, e)
		}
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		b = binary.AppendUvarint(append(b, 'o'), uint64(len(v)))
		for _, name := range names {
			b = appendCanonical(appendCanonical(b, name), v[name])
		}
	}
	return b
}

// appendNumber appends sign, digits without zeros at either end, and the power
// of ten that they are to be multiplied by; a zero byte ends it.
func appendNumber(b []byte, s string) []byte {
	s, negative := strings.CutPrefix(s, "-")
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exponent, _ = strconv.Atoi(s[i+1:]) // decodeJSON has bounded it
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	exponent -= len(fraction)
	digits := strings.TrimLeft(whole+fraction, "0")
	kept := strings.TrimRight(digits, "0")
	if kept == "" {
		return append(b, '0', 0)
	}
	if negative {
		b = append(b, '-')
	}
	b = append(append(b, kept...), 'e')
	b = strconv.AppendInt(b, int64(exponent+len(digits)-len(kept)), 10)
	return append(b, 0)
}
