package openapi

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A judge validates values, one at a time. Where anyOf branches refer back to
// their parent, each level of a value doubles the work, and the depth that
// app/json allows would last for years: a judge counts its steps and gives up.
//
// It may look twice. The first look collects the faults, for the client, and
// keeps one for each branch that was tried: it has few steps. Where they do not
// suffice, a second look only says whether the value holds.
//
// A document has as many judges as there are processors: validation only
// computes, so that more at once would not be faster.
type judge struct {
	schemas []*jsonschema.Schema // by use; the first is nil
	refuted []*jsonschema.Schema // not the same: hold where those do not
	steps   int                  // left for the request
	look    int                  // left for the look
}

// stepFormat is asserted by every schema of a bundle. The library asks for the
// format early, before it looks inside a value.
const stepFormat = "ringwall-step"

// Steps of a request: some thousands for parameters and small bodies, a
// multiple of its length for a large one. A step is about a microsecond; so long
// take patterns for the given length of a string, too.
const (
	fewSteps     = 10_000
	stepsPerByte = 4
	firstSteps   = 30_000
	bytesPerStep = 8
)

type tooManySteps struct{}

// step counts the look at a value, and what lies directly in it.
func (j *judge) step(v any) error {
	n := 1
	switch v := v.(type) {
	case string:
		n += len(v) / bytesPerStep
	case []any:
		n += len(v) / 2
	case map[string]any:
		n += len(v) / 2
	}
	j.charge(n)
	return nil
}

func (j *judge) charge(n int) {
	if j.look -= n; j.look < 0 {
		panic(tooManySteps{})
	}
}

// A verdict is what a judge says of a value.
type verdict uint8

const (
	holds verdict = iota
	fails
	unknown // it took too many steps to tell
)

// validate judges v. For what fails, err is nil when the faults are too many to
// be listed.
func (j *judge) validate(u use, v any) (result verdict, err *jsonschema.ValidationError) {
	err, over := j.try(j.schemas[u], v, min(firstSteps, j.steps))
	switch {
	case !over && err == nil:
		return holds, nil
	case !over:
		return fails, err
	}
	refuted, over := j.try(j.refuted[u], v, j.steps)
	switch {
	case over:
		return unknown, nil
	case refuted == nil:
		return fails, nil
	}
	return holds, nil
}

// try validates v against one schema. over is true when it took too many steps.
func (j *judge) try(s *jsonschema.Schema, v any, steps int) (err *jsonschema.ValidationError, over bool) {
	j.look = steps
	defer func() {
		j.steps -= steps - max(j.look, 0)
		if p := recover(); p != nil {
			if _, ok := p.(tooManySteps); !ok {
				panic(p)
			}
			over = true
		}
	}()
	err, _ = s.Validate(v).(*jsonschema.ValidationError)
	return err, false
}

// judges compiles the bundle, once for each processor.
func (l *loader) judges() chan *judge {
	if len(l.errs) > 0 {
		return nil
	}
	n := runtime.GOMAXPROCS(0)
	judges := make(chan *judge, n)
	for range n {
		j := l.judge()
		if len(l.errs) > 0 {
			return nil
		}
		judges <- j
	}
	return judges
}

func (l *loader) judge() *judge {
	const where = "https://ringwall.invalid/requests"
	n := len(l.bundle.sites) + 1
	j := &judge{schemas: make([]*jsonschema.Schema, n), refuted: make([]*jsonschema.Schema, n)}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for _, f := range formats {
		c.RegisterFormat(f)
	}
	for _, f := range l.bundle.enums {
		c.RegisterFormat(f)
	}
	c.RegisterFormat(&jsonschema.Format{Name: stepFormat, Validate: j.step})
	c.RegisterFormat(&jsonschema.Format{Name: uniqueFormat, Validate: j.unique})
	defs := maps.Clone(l.bundle.defs)
	for _, n := range l.bundle.sites {
		defs[use(n).refuted()] = map[string]any{"not": map[string]any{"$ref": "#/$defs/" + use(n).def()}}
	}
	if err := c.AddResource(where, map[string]any{"$defs": defs}); err != nil {
		l.errorf("", "%v", err)
		return nil
	}
	for _, ptr := range sorted(l.bundle.sites) {
		u := use(l.bundle.sites[ptr])
		var err1, err2 error
		j.schemas[u], err1 = c.Compile(where + "#/$defs/" + u.def())
		j.refuted[u], err2 = c.Compile(where + "#/$defs/" + u.refuted())
		if err := cmp.Or(err1, err2); err != nil {
			l.errorf(ptr, "the schema does not compile: %v", err)
		}
	}
	return j
}

// noLoader fetches nothing.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not fetched", url) }
