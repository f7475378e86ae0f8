package policy

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// gitTracks reports whether git has the file of a folder in its index. Without
// git, or outside a repository, it is false. Nothing of the repository's own
// configuration is run.
func gitTracks(folder, file string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "-c", "core.fsmonitor=false", "ls-files", "--error-unmatch", "--", file)
	cmd.Dir = folder
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GIT_") { // a hook sets GIT_DIR, which points elsewhere
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return cmd.Run() == nil
}
