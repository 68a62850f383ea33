package collector

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func mustOpen(t *testing.T, dir string) *State {
	t.Helper()
	s, setAside, err := OpenState(dir, noon)
	if err != nil {
		t.Fatal(err)
	}
	if setAside != "" {
		t.Fatalf("a good file was set aside as %s", setAside)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStateKeeps(t *testing.T) {
	dir := t.TempDir()
	want := map[string]*story{
		"a\x00fr-par\x00ns\x00f": {Privacy: privacyPublic, PublicSince: noon, PrivacyChanges: map[string]uint64{privacyPublic: 2}},
		"a\x00fr-par\x00ns":      {Secrets: map[string]setting{"KEY": {Fingerprint: "0123", Set: noon}}},
	}
	s := mustOpen(t, dir)
	fingerprint := s.Fingerprint("$argon2id$…")
	if err := s.save(want); err != nil {
		t.Fatal(err)
	}
	if err := s.save(map[string]*story{"gone": {}}); err != nil {
		t.Fatal(err)
	}
	if err := s.save(map[string]*story{"gone": nil}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	got, err := s.stories()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stories (-saved +read):\n%s", diff)
	}
	if again := s.Fingerprint("$argon2id$…"); again != fingerprint {
		t.Errorf("the fingerprint changed from %s to %s over a restart", fingerprint, again)
	}
	if other := NewState().Fingerprint("$argon2id$…"); other == fingerprint {
		t.Error("two states give the same fingerprint, so it is not keyed")
	}
}

func TestStateWithoutFile(t *testing.T) {
	s := NewState()
	if err := s.save(map[string]*story{"a": {}}); err != nil {
		t.Error(err)
	}
	if stories, err := s.stories(); err != nil || len(stories) != 0 {
		t.Errorf("stories %v, error %v, want none", stories, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStateInUse(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir)
	if _, _, err := OpenState(dir, noon); !errors.Is(err, ErrStateInUse) {
		t.Errorf("error %v, want ErrStateInUse", err)
	}
}

// What is no state file is set aside whole, and a new one is begun.
func TestStateSetsAside(t *testing.T) {
	whole := func(t *testing.T) []byte {
		dir := t.TempDir()
		s := mustOpen(t, dir)
		stories := map[string]*story{}
		for i := range 500 {
			stories[storyKey("p", "fr-par", "ns", string(rune('a'+i%26))+strings.Repeat("x", i))] = &story{Privacy: privacyPrivate}
		}
		if err := s.save(stories); err != nil {
			t.Fatal(err)
		}
		s.Close()
		data, err := os.ReadFile(filepath.Join(dir, stateFile))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	foreign := func(t *testing.T, fill func(*bbolt.Tx) error) []byte {
		path := filepath.Join(t.TempDir(), "foreign")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(fill); err != nil {
			t.Fatal(err)
		}
		db.Close()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, contents := range map[string]func(*testing.T) []byte{
		"text":      func(*testing.T) []byte { return []byte("not a database\n") },
		"zeros":     func(*testing.T) []byte { return make([]byte, 64<<10) },
		"truncated": func(t *testing.T) []byte { return whole(t)[:20<<10] },
		"overwritten in the middle": func(t *testing.T) []byte {
			data := whole(t)
			for i := 8 << 10; i < len(data); i++ {
				data[i] ^= 0xa5
			}
			return data
		},
		"an entry that is no JSON": func(t *testing.T) []byte {
			return []byte(strings.ReplaceAll(string(whole(t)), `{"privacy"`, `!"privacy"`))
		},
		"somebody else's database": func(t *testing.T) []byte {
			return foreign(t, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
		},
		"somebody else's meta": func(t *testing.T) []byte {
			return foreign(t, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(metaBucket); return err })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, stateFile)
			before := contents(t)
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			s, setAside, err := OpenState(dir, noon)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if want := path + ".damaged-20261123T120000Z"; setAside != want {
				t.Fatalf("set aside as %q, want %q", setAside, want)
			}
			after, err := os.ReadFile(setAside)
			if err != nil || len(after) != len(before) {
				t.Errorf("%d bytes were set aside (error %v), want all %d", len(after), err, len(before))
			}
			if err := s.save(map[string]*story{"a": {Privacy: privacyPublic}}); err != nil {
				t.Errorf("the new file: %v", err)
			}
		})
	}
}

func TestStateSchemas(t *testing.T) {
	setSchema := func(t *testing.T, dir string, schema uint64) {
		db, err := bbolt.Open(filepath.Join(dir, stateFile), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(metaBucket).Put(schemaKey, binary.BigEndian.AppendUint64(nil, schema))
		}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("newer is refused and left alone", func(t *testing.T) {
		dir := t.TempDir()
		mustOpen(t, dir).Close()
		setSchema(t, dir, 99)
		_, setAside, err := OpenState(dir, noon)
		if err == nil || !strings.Contains(err.Error(), "it has schema 99 and this version of scwatch knows up to "+strconv.Itoa(len(migrations))+"; run the newer version") {
			t.Errorf("error %v", err)
		}
		if entries, _ := os.ReadDir(dir); setAside != "" || len(entries) != 1 {
			t.Errorf("set aside %q, %d files", setAside, len(entries))
		}
	})
	t.Run("older is migrated and keeps what it has", func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir)
		if err := s.save(map[string]*story{"a": {Privacy: privacyPublic}}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		defer func(known []func(*bbolt.Tx) error) { migrations = known }(migrations)
		newest := uint64(len(migrations) + 1)
		migrations = append(slices.Clone(migrations), func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("new"))
			return err
		})
		s = mustOpen(t, dir)
		stories, err := s.stories()
		if err != nil || stories["a"] == nil || stories["a"].Privacy != privacyPublic {
			t.Errorf("stories %v, error %v", stories, err)
		}
		s.db.View(func(tx *bbolt.Tx) error {
			if tx.Bucket([]byte("new")) == nil || binary.BigEndian.Uint64(tx.Bucket(metaBucket).Get(schemaKey)) != newest {
				t.Errorf("the file was not migrated to schema %d", newest)
			}
			return nil
		})
	})
}

func TestStateErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenState(file, noon); err == nil || !strings.Contains(err.Error(), "make the storage path") {
		t.Errorf("a file as folder: error %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, stateFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, setAside, err := OpenState(dir, noon); err == nil || setAside != "" {
		t.Errorf("a folder as file: error %v, set aside %q", err, setAside)
	}
}
