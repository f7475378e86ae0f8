package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// partJSON is a file as ringwall host reads it.
type partJSON struct {
	Path    string `json:"path"`
	Content string `json:"content,omitempty"`
	Mode    uint32 `json:"mode"`
	Folder  bool   `json:"folder,omitempty"`
	Absent  bool   `json:"absent,omitempty"`
}

// nginxPartsCommand and nginxPrepareCommand are for ringwall host, which has a journal
// and a way back of its own, and knows nothing of nginx.
func nginxPartsCommand(f *nginxFlags) *cobra.Command {
	version := ""
	cmd := &cobra.Command{
		Use: "parts", Hidden: true, Args: cobra.NoArgs,
		Short: "List the files of an install that hold no secret, in JSON",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, p, err := f.packaged(version)
			if err != nil {
				return err
			}
			parts, err := in.Parts(cmd.Context(), p)
			if errors.Is(err, nginx.ErrNeedsCertificate) {
				cert, _ := nginx.Certificate(p)
				err = fmt.Errorf("there is no certificate at %s: with certbot, apt-get install nginx, then ringwall nginx install serves port 80 for it", cert)
			}
			if err != nil {
				return nginxFailure(cmd.Context(), err)
			}
			files := []partJSON{}
			for _, c := range parts.Shown {
				files = append(files, partJSON{c.Path, c.Text, uint32(c.Mode.Perm()), c.Folder, c.Remove})
			}
			return writeJSON(cmd.OutOrStdout(), map[string]any{"files": files, "private": parts.Private, "left": parts.Left, "ready": parts.Ready})
		},
	}
	cmd.Flags().StringVar(&version, "nginx-version", "", "what nginx -V will say of the package that is not there yet")
	return cmd
}

func nginxPrepareCommand(f *nginxFlags) *cobra.Command {
	return &cobra.Command{
		Use: "prepare", Hidden: true, Args: cobra.NoArgs,
		Short: "Make the secret of an install or, when there is one, the files that hold it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			if !p.Edge.Nginx.Proof.Set() {
				return makeProof(cmd.OutOrStdout(), p, policyPath(f.policy))
			}
			in, p, err := f.packaged("")
			if err != nil {
				return err
			}
			return nginxFailure(cmd.Context(), in.Prepare(cmd.Context(), p))
		},
	}
}

// packaged is an installer on the nginx of the distribution's package: the only one
// that systemd has as nginx.service. With a version it need not be there yet.
func (f *nginxFlags) packaged(version string) (*nginx.Installer, *policy.Policy, error) {
	p, err := f.load()
	if err != nil {
		return nil, nil, err
	}
	o, err := f.options(p)
	if err != nil {
		return nil, nil, err
	}
	o.WithoutIPv6 = !hasIPv6()
	h := nginx.Host{Binary: "/usr/sbin/nginx"}
	if other, err := nginx.InstalledOn(p); err == nil && other != h {
		return nil, nil, &failure{fmt.Errorf("the policy is installed on another nginx, %s, which is ringwall nginx install's", other.Command()), 1, ""}
	}
	if version != "" {
		if o.Version, err = nginx.ParseVersion(version); err != nil {
			return nil, nil, err
		}
	}
	return &nginx.Installer{Host: h, Options: o, Owner: stateOwner(p)}, p, nil
}
