package policy

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

const prefix = "RINGWALL_"

// Variables of the program itself, which are no part of the policy.
var programVariables = []string{prefix + "POLICY", prefix + "STATE", prefix + "BANS_SOCKET"}

// A target is a value that a variable can set.
type target struct {
	path  string
	value reflect.Value
	field field
	done  func() // puts a changed entry back into its map
}

// variables holds the environment and where each value comes from.
type variables struct {
	values map[string]string
	from   map[string]string // how a message names the variable
}

// environment overrides values from the environment.
func (l *loader) environment(opts LoadOptions) {
	env := variables{map[string]string{}, map[string]string{}}
	for _, kv := range opts.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env.values[name], env.from[name] = value, name
		}
	}
	l.dotenv(opts.Dev, env)
	l.secretsFrom(env)

	targets := map[string][]target{}
	add := func(name string, t target) { targets[name] = append(targets[name], t) }
	eachLeaf("", reflect.ValueOf(l.p).Elem(), func() {}, func(t target) {
		add(variable(t.path), t)
		if t.field.env != "" {
			add(t.field.env, t)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(env.values)) {
		set, value := name, env.values[name]
		if _, ok := targets[name]; !ok {
			base, isFile := strings.CutSuffix(name, "_FILE")
			if !strings.HasPrefix(name, prefix) || isSecretVariable(name) || slices.Contains(programVariables, name) {
				continue
			}
			if _, ok := targets[base]; !ok || !isFile {
				l.unknownVariable(env.from[name], name, targets)
				continue
			}
			content, err := readSmall(value)
			if err != nil {
				l.add(&Error{File: env.from[name], Path: targets[base][0].path, Reason: err.Error(), Hint: "name a file that can be read"})
				continue
			}
			set, value = base, content
		}
		l.override(set, env.from[name], targets[set], value)
	}
}

// override sets the one target of a variable.
func (l *loader) override(name, from string, targets []target, value string) {
	t := targets[0]
	if len(targets) > 1 {
		l.add(&Error{File: from, Reason: "it could mean " + t.path + " and " + targets[1].path, Hint: "rename one of them, or set it in the policy"})
		return
	}
	if other := l.p.origin[t.path]; other != "" {
		l.add(&Error{File: from, Path: t.path, Reason: "the value is set by " + other + " too", Hint: "unset one of them"})
		return
	}
	if t.field.env == name {
		value = strings.ToLower(value) // LOG_LEVEL belongs to everybody, and INFO is common
	}
	if err := setText(t.value, t.field, value); err != nil {
		m := misfitOf(err)
		l.add(&Error{File: from, Path: t.path, Reason: m.reason, Hint: m.hint})
	}
	t.done()
	l.p.origin[t.path] = from
}

// variable names the environment variable of a path.
func variable(path string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(path))
}

// eachLeaf visits what a variable can set: single values and lists of them in
// structs and in maps, but not in lists, whose entries have no lasting name.
func eachLeaf(path string, v reflect.Value, done func(), visit func(target)) {
	for _, f := range fields(v.Type()) {
		fv, here := v.Field(f.index), child(path, f.key)
		switch {
		case isLeaf(fv.Type()):
			visit(target{here, fv, f, done})
		case fv.Kind() == reflect.Struct:
			eachLeaf(here, fv, done, visit)
		case fv.Kind() == reflect.Map:
			for _, key := range sortedKeys(fv) {
				k := reflect.ValueOf(key)
				e := reflect.New(fv.Type().Elem()).Elem()
				e.Set(fv.MapIndex(k))
				put := func() { fv.SetMapIndex(k, e) }
				if isLeaf(e.Type()) {
					visit(target{child(here, key), e, field{}, put})
				} else {
					eachLeaf(child(here, key), e, put, visit)
				}
			}
		}
	}
}

func (l *loader) unknownVariable(from, name string, targets map[string][]target) {
	known := slices.Concat(slices.Sorted(maps.Keys(targets)), programVariables)
	for _, s := range secrets() {
		known = append(known, s.env())
	}
	hint := "unset it; variables are named after the path of a key, app.body is " + variable("app.body")
	if near := Nearest(name, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	l.add(&Error{File: from, Reason: "no key of the policy has this variable", Hint: hint})
}

// dotenv adds what a .env file beside the policy says, under Dev, where the
// environment says nothing. One that git tracks is refused in every mode: what
// is in it has been shown to everybody who has the repository.
func (l *loader) dotenv(dev bool, env variables) {
	if l.p.folder == "" {
		return
	}
	file := filepath.Join(l.p.folder, ".env")
	if _, err := os.Lstat(file); err != nil {
		return
	}
	if gitTracks(l.p.folder, ".env") {
		l.add(&Error{File: file, Reason: "git tracks this file, so its secrets are in the repository",
			Hint: "type `git rm --cached .env && echo .env >> .gitignore`, commit, and replace every secret that was in it"})
		return
	}
	if !dev {
		return
	}
	values, err := readDotenv(file)
	if err != nil {
		l.add(&Error{File: file, Reason: err.Error(), Hint: "write NAME=value on each line, and close each quote"})
		return
	}
	outside := maps.Clone(env.values)
	for name, value := range values {
		base := strings.TrimSuffix(name, "_FILE")
		_, plain := outside[base]
		_, inFile := outside[base+"_FILE"]
		if !plain && !inFile {
			env.values[name], env.from[name] = value, name+" in "+file
		}
	}
}

// readDotenv does not pass the parser's messages on: they quote the file.
func readDotenv(file string) (map[string]string, error) {
	content, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	values, err := godotenv.Unmarshal(content)
	if err != nil {
		return nil, errors.New("a line is not NAME=value")
	}
	return values, nil
}

// readSmall reads a file of at most 64 kB without its last line break.
func readSmall(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", plainPathError(err)
	}
	defer f.Close()
	return readSecretive(f)
}

// plainPathError leaves out the operation, which says nothing to an operator.
func plainPathError(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return errors.New(p.Path + ": " + p.Err.Error())
	}
	return err
}
