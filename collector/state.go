package collector

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	stateFile   = "scwatch.db"
	lockTimeout = time.Second
)

var (
	metaBucket    = []byte("meta")
	schemaKey     = []byte("schema")
	digestKey     = []byte("digest_key")
	storiesBucket = []byte("stories")
)

// migrations[n] takes a file from schema n to n+1. A new file is one of
// schema 0, so that making one and upgrading one are the same.
var migrations = []func(*bbolt.Tx) error{
	func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket(storiesBucket); err != nil {
			return err
		}
		key := make([]byte, sha256.Size)
		if _, err := rand.Read(key); err != nil {
			return err
		}
		return meta.Put(digestKey, key)
	},
	func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(rejectedBucket)
		return err
	},
}

// State is the collector's memory across restarts: one bbolt file. Every
// method works without a file as well (see NewState), and then nothing is
// kept.
type State struct {
	db  *bbolt.DB // nil: nothing is kept
	key []byte
}

// NewState returns a State that keeps nothing beyond the process.
func NewState() *State {
	key := make([]byte, sha256.Size)
	rand.Read(key) // does not fail
	return &State{key: key}
}

// ErrStateInUse says that another process has the state file open.
var ErrStateInUse = errors.New("another scwatch uses it; one daemon at a time can use a storage path")

// OpenState opens the state file in dir, or makes it. A file that is damaged
// or not ours is set aside under another name and replaced by a new one;
// setAside is then its new path. A file of a newer schema is refused, since
// this version would lose what it does not know.
func OpenState(dir string, now time.Time) (s *State, setAside string, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, "", fmt.Errorf("make the storage path: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	s, err = openState(path)
	var damaged *damagedError
	if errors.As(err, &damaged) {
		setAside = fmt.Sprintf("%s.damaged-%s", path, now.UTC().Format("20060102T150405Z"))
		if err := os.Rename(path, setAside); err != nil {
			return nil, "", fmt.Errorf("set the damaged state file aside: %w", err)
		}
		s, err = openState(path)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open the state file %s: %w", path, err)
	}
	return s, setAside, nil
}

// damagedError says that a file cannot be a state file of any version.
type damagedError struct{ err error }

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

func openState(path string) (s *State, err error) {
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	s = &State{db: db}
	if err := db.Update(s.migrate); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// openBolt opens the file and reads all of it once. Damage that bbolt has no
// error for makes it panic, or fault in its memory map: both are made errors
// here, at the start, rather than crashes later. (A panic inside bbolt.Open
// leaves one file descriptor behind.)
func openBolt(path string) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if damage := recover(); damage != nil {
			err = &damagedError{fmt.Errorf("its pages cannot be read: %v", damage)}
		}
		if err != nil && db != nil {
			db.Close()
			db = nil
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrStateInUse
	case isFileError(err):
		return nil, err
	case err != nil:
		return nil, &damagedError{err}
	}
	return db, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(key, value []byte) error {
				if string(name) != string(metaBucket) && !json.Valid(value) {
					return &damagedError{fmt.Errorf("the entry of %q is not valid", key)}
				}
				return nil
			})
		})
	})
}

func isFileError(err error) bool {
	var path *fs.PathError
	var call *os.SyscallError
	return errors.As(err, &path) || errors.As(err, &call)
}

func (s *State) migrate(tx *bbolt.Tx) error {
	schema := 0
	if meta := tx.Bucket(metaBucket); meta != nil {
		value := meta.Get(schemaKey)
		if len(value) != 8 || len(meta.Get(digestKey)) != sha256.Size {
			return &damagedError{errors.New("it is not a state file of scwatch")}
		}
		schema = int(binary.BigEndian.Uint64(value))
	} else if first, _ := tx.Cursor().First(); first != nil {
		return &damagedError{errors.New("it is not a state file of scwatch")}
	}
	if schema > len(migrations) {
		return fmt.Errorf("it has schema %d and this version of scwatch knows up to %d; run the newer version, or give another --storage.path", schema, len(migrations))
	}
	for ; schema < len(migrations); schema++ {
		if err := migrations[schema](tx); err != nil {
			return fmt.Errorf("migrate it from schema %d: %w", schema, err)
		}
	}
	meta := tx.Bucket(metaBucket)
	s.key = append([]byte(nil), meta.Get(digestKey)...)
	return meta.Put(schemaKey, binary.BigEndian.AppendUint64(nil, uint64(schema)))
}

// Close releases the file.
func (s *State) Close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// Fingerprint returns a digest of a secret's hash under a key that only this
// state has: equal for equal hashes, and of no use to anybody else.
func (s *State) Fingerprint(hash string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(hash))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// stories returns all that is kept.
func (s *State) stories() (map[string]*story, error) {
	all := map[string]*story{}
	if s.db == nil {
		return all, nil
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(storiesBucket).ForEach(func(key, value []byte) error {
			st := &story{}
			if err := json.Unmarshal(value, st); err != nil {
				return fmt.Errorf("read the story of %q: %w", key, err)
			}
			all[string(key)] = st
			return nil
		})
	})
	return all, err
}

// save keeps the given stories, and forgets those that are nil, in one
// transaction: all or, after a crash at any moment, none of them.
func (s *State) save(changed map[string]*story) error {
	if s.db == nil || len(changed) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(storiesBucket)
		for key, st := range changed {
			if st == nil {
				if err := bucket.Delete([]byte(key)); err != nil {
					return err
				}
				continue
			}
			value, err := json.Marshal(st)
			if err != nil {
				return err
			}
			if err := bucket.Put([]byte(key), value); err != nil {
				return err
			}
		}
		return nil
	})
}
