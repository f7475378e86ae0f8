package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// nginxFlags are shared by the verbs of `ringwall nginx`.
type nginxFlags struct {
	policy, binary, conf, prefix string
}

func nginxCommand() *cobra.Command {
	f := &nginxFlags{}
	cmd := &cobra.Command{
		Use:   "nginx",
		Short: "Have nginx be the edge: render, install, compare",
		Long: `Have an nginx of this machine take the clients' connections, as a policy with
edge.engine: nginx says. What it does then, and what it cannot do, is in
docs/nginx.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	policyFlag(cmd, &f.policy)
	cmd.PersistentFlags().StringVar(&f.binary, "nginx", "", "nginx itself (default the one that the policy was installed on, but to render the one in PATH, then /usr/sbin/nginx)")
	cmd.PersistentFlags().StringVar(&f.conf, "nginx-conf", "", "its main file (default the one that it was built for)")
	cmd.PersistentFlags().StringVar(&f.prefix, "nginx-prefix", "", "its folder (default likewise)")
	cmd.AddCommand(nginxRenderCommand(f), nginxInstallCommand(f), nginxDiffCommand(f), nginxPartsCommand(f), nginxPrepareCommand(f))
	return cmd
}

// load reads the policy. A site of this machine only is good for trying it out.
func (f *nginxFlags) load() (*policy.Policy, error) {
	p, err := policy.Load(policyPath(f.policy), policy.LoadOptions{})
	if err != nil {
		if local, lerr := policy.Load(policyPath(f.policy), policy.LoadOptions{Dev: true}); lerr == nil && local.Site == "localhost" {
			return local, nil
		}
		return nil, err
	}
	return p, nil
}

// installedOn is the nginx that the policy was installed on, unless flags name
// another one or it was installed on none; then it is that of host. The policy may
// be nil.
func (f *nginxFlags) installedOn(p *policy.Policy) (nginx.Host, error) {
	if f.binary != "" || f.conf != "" || f.prefix != "" || p == nil || !p.NginxIsEdge() {
		return f.host()
	}
	h, err := nginx.InstalledOn(p)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return f.host()
	case err != nil: // not to be taken for none
		return h, &failure{err, 1, "run it as root, or name nginx with --nginx"}
	}
	return h, nil
}

// host finds nginx; the failure says how to get it.
func (f *nginxFlags) host() (nginx.Host, error) {
	h, err := nginx.FindHost(f.binary)
	if err != nil {
		return h, &failure{err, 1, "apt-get install nginx, or name it with --nginx"}
	}
	for _, path := range []struct {
		to   *string
		name string
	}{{&h.Binary, h.Binary}, {&h.Conf, f.conf}, {&h.Prefix, f.prefix}} { // units and logrotate run it elsewhere
		if path.name != "" {
			if *path.to, err = filepath.Abs(path.name); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

// options are what a text needs besides the version.
func (f *nginxFlags) options(p *policy.Policy) (nginx.Options, error) {
	documented, err := documentedPaths(p)
	if err != nil {
		return nginx.Options{}, err
	}
	return nginx.Options{
		Headers: func(p *policy.Policy, secure bool) map[string]string {
			return app.ConstantHeaders(p, secure, time.Now())
		},
		Documented: documented,
	}, nil
}

// documentedPaths are those of the policy's OpenAPI document, which serve judges
// as a whole.
func documentedPaths(p *policy.Policy) ([]string, error) {
	if p.App.Schema == "" {
		return nil, nil
	}
	b, err := os.ReadFile(p.File(p.App.Schema))
	if err != nil {
		return nil, p.Errorf("app.schema", "", "%w", err)
	}
	var doc struct {
		Paths map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, p.Errorf("app.schema", "type ringwall policy check", "%s is no OpenAPI document: %w", p.File(p.App.Schema), err)
	}
	var paths []string
	for path := range doc.Paths {
		if strings.HasPrefix(path, "/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// nginxFailure says what to do next about what the package says is wrong.
func nginxFailure(ctx context.Context, err error) error {
	var wrong *policy.Error
	var f *failure
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case ctx.Err() != nil:
		return &failure{fmt.Errorf("stopped: %w", err), 1, ""}
	case errors.As(err, &wrong):
		next := "correct it, then: ringwall policy check"
		if strings.HasPrefix(wrong.Path, "edge.nginx.listen") {
			next = "start ringwall serve, or see why it does not listen there"
		}
		return &failure{err, 2, next}
	case errors.Is(err, os.ErrPermission):
		return &failure{err, 1, "run it as root: nginx's files are root's"}
	}
	return err
}
