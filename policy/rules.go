package policy

import "time"

func (l *loader) rules(time.Time) {}
