package policy

// environment overrides values from the environment.
func (l *loader) environment(LoadOptions) {}
