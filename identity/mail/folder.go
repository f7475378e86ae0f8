package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/ringwall/ringwall/identity"
)

// A Folder writes each mail to a file of its own, for development: nobody but
// the owner can read it, for it holds secrets. The log says where it is. The newest
// thousand stay.
type Folder struct {
	Dir  string // made when it is missing
	From string
	Log  *slog.Logger // may be nil
}

// Send writes the mail. The file is there whole, or not at all.
func (f *Folder) Send(_ context.Context, m identity.Mail) error {
	msg, err := message(f.From, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("write a mail: %w", err)
	}
	name := filepath.Join(f.Dir, time.Now().UTC().Format("20060102T150405.000Z")+"-"+rand.Text()[:6]+".eml")
	part := name + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write a mail: %w", err)
	}
	_, err = msg.WriteTo(file)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		_ = os.Remove(part)
		return fmt.Errorf("write a mail: %w", err)
	}
	f.tidy(time.Now().Add(-time.Hour))
	if f.Log != nil {
		f.Log.Info("a mail is in the folder", "subject", m.Subject, "file", name)
	}
	return nil
}

// kept is how many mails stay in a folder.
const kept = 1000

// named is what Send names its files: of others' in the folder none is touched.
const named = "[0-9]*T*Z-??????.eml"

// tidy removes the mails that are too many, the oldest first, as their names say, and
// what was written before a time by a process that was killed at it.
func (f *Folder) tidy(before time.Time) {
	parts, _ := filepath.Glob(filepath.Join(f.Dir, named+".part"))
	for _, part := range parts {
		if fi, err := os.Lstat(part); err == nil && fi.ModTime().Before(before) {
			_ = os.Remove(part)
		}
	}
	mails, _ := filepath.Glob(filepath.Join(f.Dir, named))
	for i := range len(mails) - kept {
		_ = os.Remove(mails[i])
	}
}
