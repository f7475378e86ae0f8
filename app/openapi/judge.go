package openapi

import (
	"fmt"
	"runtime"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A judge validates values, one at a time. Where anyOf branches refer back to
// their parent, each level of a value doubles the work, and the depth that
// app/json allows would last for years: a judge counts its steps and gives up.
//
// A document has as many judges as there are processors: validation only
// computes, so that more at once would not be faster.
type judge struct {
	schemas []*jsonschema.Schema // by use; the first is nil
	steps   int                  // left for the request
}

// stepFormat is asserted by every schema of a bundle that has no format of its
// own. The library asks for the format early, before it looks inside a value.
const stepFormat = "ringwall-step"

// Steps of a request: some thousands for parameters and small bodies, a
// multiple of its length for a large one.
const (
	fewSteps     = 10_000
	stepsPerByte = 4
)

type tooManySteps struct{}

func (j *judge) step(any) error {
	if j.steps--; j.steps < 0 {
		panic(tooManySteps{})
	}
	return nil
}

// validate judges v. over is true when it took too many steps to tell.
func (j *judge) validate(u use, v any) (err *jsonschema.ValidationError, over bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(tooManySteps); !ok {
				panic(p)
			}
			over = true
		}
	}()
	err, _ = j.schemas[u].Validate(v).(*jsonschema.ValidationError)
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
	j := &judge{schemas: make([]*jsonschema.Schema, len(l.bundle.sites)+1)}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	for _, f := range formats {
		c.RegisterFormat(f)
	}
	c.RegisterFormat(&jsonschema.Format{Name: stepFormat, Validate: j.step})
	if err := c.AddResource(where, map[string]any{"$defs": l.bundle.defs}); err != nil {
		l.errorf("", "%v", err)
		return nil
	}
	for _, ptr := range sorted(l.bundle.sites) {
		u := use(l.bundle.sites[ptr])
		s, err := c.Compile(where + "#/$defs/" + u.def())
		if err != nil {
			l.errorf(ptr, "the schema does not compile: %v", err)
			continue
		}
		j.schemas[u] = s
	}
	return j
}

// noLoader fetches nothing.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) { return nil, fmt.Errorf("%s is not fetched", url) }
