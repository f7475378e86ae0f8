package app

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// outline is as much of an OpenAPI document as a check from outside needs.
type outline struct {
	Servers []struct {
		URL string `yaml:"url"`
	} `yaml:"servers"`
	Paths map[string]struct {
		Parameters []outlineParameter `yaml:"parameters"`
		Get        *struct {
			Parameters []outlineParameter `yaml:"parameters"`
		} `yaml:"get"`
	} `yaml:"paths"`
}

type outlineParameter struct {
	Ref      string `yaml:"$ref"`
	Required bool   `yaml:"required"`
}

// plainGets lists the paths of an OpenAPI file that answer a GET without path
// parameters and required ones, in order of their spelling. Shared parameters
// ($ref) count as required.
func plainGets(file string) ([]string, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	var o outline
	if err := yaml.Unmarshal(src, &o); err != nil {
		return nil, fmt.Errorf("read the schema %s: it is not YAML or JSON of an OpenAPI document", file)
	}
	var base string
	if len(o.Servers) > 0 {
		if u, err := url.Parse(o.Servers[0].URL); err == nil {
			base = strings.TrimSuffix(u.Path, "/")
		}
	}
	plain := func(ps []outlineParameter) bool {
		return !slices.ContainsFunc(ps, func(p outlineParameter) bool { return p.Required || p.Ref != "" })
	}
	var paths []string
	for _, path := range slices.Sorted(maps.Keys(o.Paths)) {
		item := o.Paths[path]
		if item.Get != nil && !strings.Contains(path, "{") && plain(item.Parameters) && plain(item.Get.Parameters) {
			paths = append(paths, base+path)
		}
	}
	return paths, nil
}
