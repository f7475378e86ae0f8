package inside

import (
	"context"

	"github.com/ringwall/ringwall/check"
)

// A Check is one thing to see on a server.
type Check struct {
	check.Meta
	Verify func(context.Context, *Machine) check.Finding
}

var checks = []Check{
	listeners,
	confinement,
	keyFiles,
	rootFiles,
	privileged,
	tracked,
	environment,
	history,
	logged,
	rotation,
	updates,
	renewal,
	backups,
}

// Checks binds all to a machine.
func Checks(m *Machine) []check.Check {
	var out []check.Check
	for _, c := range checks {
		out = append(out, check.Check{Meta: c.Meta, Verify: func(ctx context.Context) check.Finding {
			own := *m
			own.seen = new([]check.Exchange)
			own.Run = func(ctx context.Context, argv ...string) (string, error) {
				text, err := m.Run(ctx, argv...)
				own.note(check.Command(argv, text, err))
				return text, plainly(argv, err)
			}
			f := c.Verify(ctx, &own)
			f.Evidence = *own.seen
			return f
		}})
	}
	return out
}
