package app

import (
	"net/http"
	"slices"
	"strings"
)

// A fieldWriter is a response writer that takes header fields besides those of
// its map: Ringwall's own, over HTTP/1. AddLines takes what is ready to be sent.
type fieldWriter interface {
	AddField(name string, values []string)
	AddLines(lines string)
}

// commit writes the header: the handler's, without what the ring owns, then
// the ring's static ones, then those of this answer.
func (a *Answer) commit(status int, from http.Header) {
	a.Status = status
	ring := a.x.ring
	dst := a.w.Header()
	w, direct := a.w.(fieldWriter)
	if direct { // what stands outside of the ring may have written there
		for name := range dst {
			if ring.owns(name) {
				delete(dst, name)
			}
		}
	}
	for name, v := range from {
		// A name put into the map by hand may be in any letters; it must not
		// pass by its owner.
		key := http.CanonicalHeaderKey(name)
		if ring.owns(key) {
			continue
		}
		if has := dst[key]; len(has) > 0 {
			v = append(slices.Clip(has), v...)
		}
		dst[key] = v
	}
	for _, f := range ring.finish {
		f(a.x, dst)
	}
	if !direct {
		for i := range ring.static {
			dst[ring.static[i].name] = ring.static[i].value
		}
	}
	set := func(f *field) {
		if direct && dst[f.name] == nil {
			w.AddField(f.name, f.value)
		} else {
			dst[f.name] = f.value
		}
	}
	for i := range a.nown {
		set(&a.own[i])
	}
	for i := range a.more {
		set(&a.more[i])
	}
	if len(a.vary) > 0 {
		// Clipped: the handler's slice must not be written into.
		set(&field{"Vary", append(slices.Clip(dst["Vary"]), a.vary...)})
	}
	if direct {
		w.AddLines(ring.lines)
	}
	a.w.WriteHeader(status)
}

// owns reports whether a control owns the header of this canonical name.
func (r *Ring) owns(name string) bool {
	_, owned := r.owned[name]
	return owned
}

// lines are fields as they are sent over HTTP/1, in the order of their names.
func lines(fields []field) string {
	var b strings.Builder
	for _, f := range slices.SortedFunc(slices.Values(fields), func(a, b field) int { return strings.Compare(a.name, b.name) }) {
		for _, v := range f.value {
			b.WriteString(f.name + ": " + oneLine.Replace(v) + "\r\n")
		}
	}
	return b.String()
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")
