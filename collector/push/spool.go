package push

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
)

// Batches are files named by their tick in milliseconds: waiting until the
// receiver took them, then kept until their heartbeat has passed, because they
// say what the receiver holds.
const (
	waitingSuffix = ".waiting"
	sentSuffix    = ".sent"
	damagedSuffix = ".damaged"
)

// spool keeps batches, oldest first, on disk; what the disk does not take, and
// all of it without a folder, in memory.
type spool struct {
	dir     string // empty: nothing is kept on disk
	batches []*batch
}

// batch is what goes out at one tick.
type batch struct {
	at      time.Time
	samples int
	size    int64  // as it is kept
	sent    bool   // the receiver took it
	memory  []byte // the kept form; nil where it is on disk
}

// openSpool reads the folder. Batches that are damaged are set aside under
// another name, and counted.
func openSpool(dir string) (s *spool, damaged int, err error) {
	s = &spool{dir: dir}
	if dir == "" {
		return s, 0, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, 0, fmt.Errorf("make the spool's folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("read the spool's folder: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		suffix := filepath.Ext(name)
		ms, parseErr := strconv.ParseInt(strings.TrimSuffix(name, suffix), 10, 64)
		if suffix == ".tmp" {
			os.Remove(filepath.Join(dir, name)) // a write that a crash cut off
			continue
		}
		if parseErr != nil || suffix != waitingSuffix && suffix != sentSuffix {
			continue
		}
		b := &batch{at: time.UnixMilli(ms), sent: suffix == sentSuffix}
		samples, err := s.read(b)
		if err != nil {
			damaged++
			os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+damagedSuffix))
			continue
		}
		if info, err := entry.Info(); err == nil {
			b.size = info.Size()
		}
		b.samples = len(samples)
		s.batches = append(s.batches, b)
	}
	slices.SortFunc(s.batches, func(a, b *batch) int { return a.at.Compare(b.at) })
	return s, damaged, nil
}

func (s *spool) path(b *batch) string {
	suffix := waitingSuffix
	if b.sent {
		suffix = sentSuffix
	}
	return filepath.Join(s.dir, fmt.Sprintf("%d%s", b.at.UnixMilli(), suffix))
}

// add keeps the samples of a tick. An error says why they are in memory only.
func (s *spool) add(samples []Sample, at time.Time) error {
	kept := appendKept(nil, samples, at)
	b := &batch{at: at, samples: len(samples), size: int64(len(kept)), memory: kept}
	s.batches = append(s.batches, b)
	if s.dir == "" {
		return nil
	}
	if err := writeFile(s.path(b), kept); err != nil {
		return err
	}
	b.memory = nil
	return nil
}

// writeFile writes all or nothing, and returns when it is on the disk.
func writeFile(path string, data []byte) error {
	file, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		os.Remove(path + ".tmp")
	}
	return err
}

// appendKept encodes a batch as it is kept: the sum of what follows, and the
// compressed request.
func appendKept(b []byte, samples []Sample, at time.Time) []byte {
	compressed := s2.EncodeSnappy(nil, appendRequest(nil, samples, at))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(compressed))
	return append(b, compressed...)
}

// read returns the samples of a batch.
func (s *spool) read(b *batch) ([]Sample, error) {
	kept := b.memory
	if kept == nil {
		var err error
		if kept, err = os.ReadFile(s.path(b)); err != nil {
			return nil, err
		}
	}
	if len(kept) < 4 || binary.BigEndian.Uint32(kept) != crc32.ChecksumIEEE(kept[4:]) {
		return nil, errors.New("the batch is damaged")
	}
	request, err := s2.Decode(nil, kept[4:])
	if err != nil {
		return nil, err
	}
	samples, _, err := parseRequest(request)
	return samples, err
}

// oldest returns the oldest batch that waits; nil: none does.
func (s *spool) oldest() *batch {
	for _, b := range s.batches {
		if !b.sent {
			return b
		}
	}
	return nil
}

// done marks b as taken by the receiver.
func (s *spool) done(b *batch) {
	before := s.path(b)
	b.sent = true
	if b.memory == nil && s.dir != "" {
		os.Rename(before, s.path(b)) // where this fails it is sent again, and refused or the same
	}
}

// remove forgets b.
func (s *spool) remove(b *batch) {
	if b.memory == nil && s.dir != "" {
		os.Remove(s.path(b))
	}
	s.batches = slices.DeleteFunc(s.batches, func(other *batch) bool { return other == b })
}

// setAside keeps b under another name, for a person to look at.
func (s *spool) setAside(b *batch) {
	if b.memory == nil && s.dir != "" {
		os.Rename(s.path(b), s.path(b)+damagedSuffix)
	}
	s.batches = slices.DeleteFunc(s.batches, func(other *batch) bool { return other == b })
}

// waiting returns the bytes that wait, and since when the oldest does.
func (s *spool) waiting() (size int64, oldest time.Time) {
	for _, b := range s.batches {
		if b.sent {
			continue
		}
		if oldest.IsZero() {
			oldest = b.at
		}
		size += b.size
	}
	return size, oldest
}
