package collector

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Exposition serves the metrics: those of the last snapshot, encoded when it
// was published, and the daemon's own, gathered at the scrape.
type Exposition struct {
	own prometheus.Gatherer
	log *slog.Logger

	current atomic.Pointer[generation]
}

// form is what a scraper asks for.
type form struct {
	format expfmt.Format
	gzip   bool
}

// generation is one snapshot with its encodings.
type generation struct {
	snapshot *Snapshot

	mu        sync.Mutex
	encodings map[form]encoding
	idle      map[form]int // generations since the form was last asked for
}

// keepIdle is for how many generations a form is encoded that nobody asks for.
const keepIdle = 10

// encoding is a snapshot's metrics in one form, kept compressed.
type encoding interface {
	// write answers with the encoded snapshot followed by tail.
	write(w io.Writer, tail []byte) error
}

// NewExposition returns an Exposition that serves the metrics of own beside
// the snapshots that are published to it.
func NewExposition(own prometheus.Gatherer, log *slog.Logger) *Exposition {
	e := &Exposition{own: own, log: log}
	e.Publish(&Snapshot{})
	return e
}

// Publish makes s what is served, in every form that was asked for lately.
func (e *Exposition) Publish(s *Snapshot) {
	next := &generation{snapshot: s, encodings: map[form]encoding{}, idle: map[form]int{}}
	var forms []form
	if last := e.current.Load(); last != nil {
		last.mu.Lock()
		for f, idle := range last.idle {
			if idle < keepIdle {
				next.idle[f] = idle + 1
				forms = append(forms, f)
			}
		}
		last.mu.Unlock()
	}
	next.encodings = encode(s, forms...)
	e.current.Store(next)
}

// encoding returns the generation in form f. A form that is new is encoded for
// the scrape that asks for it first.
func (g *generation) encoding(f form) encoding {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.idle[f] = 0
	if g.encodings[f] == nil {
		g.encodings[f] = encode(g.snapshot, f)[f]
	}
	return g.encodings[f]
}

// ServeHTTP answers a scrape in the text, OpenMetrics or protobuf format,
// compressed or not, as the request's headers ask.
func (e *Exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := form{
		format: expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...),
		gzip:   acceptsGzip(r.Header.Get("Accept-Encoding")),
	}
	own := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(own)
	own.Reset()
	if err := e.encodeOwn(own, f.format); err != nil {
		e.log.Error("gather the daemon's own metrics", "err", err)
		http.Error(w, "gather the daemon's own metrics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(f.format))
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	if f.gzip {
		w.Header().Set("Content-Encoding", "gzip")
	}
	if err := e.current.Load().encoding(f).write(w, own.Bytes()); err != nil {
		e.log.Debug("a scraper left before the end", "err", err)
	}
}

// Snapshot returns what was published last; its time is zero before the first.
func (e *Exposition) Snapshot() *Snapshot { return e.current.Load().snapshot }

// Gather returns what a scrape would show now.
func (e *Exposition) Gather() ([]*dto.MetricFamily, error) {
	families, err := e.own.Gather()
	if err != nil {
		return nil, err
	}
	s := e.current.Load().snapshot
	labels := functionLabels(s.Functions)
	for i := range Metrics {
		families = append(families, Metrics[i].family(s, labels))
	}
	return families, nil
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encodeOwn writes the daemon's own metrics, and whatever ends the format.
func (e *Exposition) encodeOwn(w io.Writer, format expfmt.Format) error {
	families, err := e.own.Gather()
	if err != nil {
		return err
	}
	encoder := expfmt.NewEncoder(w, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		return closer.Close()
	}
	return nil
}

// acceptsGzip tells whether an Accept-Encoding header names gzip and does not
// refuse it.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			quality, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q=")
			return !ok || strings.Trim(quality, "0.") != ""
		}
	}
	return false
}

// encode encodes the metrics of s in several forms at once, one family at a
// time, so that never more than one of them stands in memory unencoded.
func encode(s *Snapshot, forms ...form) map[form]encoding {
	encodings := map[form]encoding{}
	if len(forms) == 0 {
		return encodings
	}
	type compressor interface {
		io.Writer
		encoding
		finish()
	}
	compressors := make([]compressor, len(forms))
	encoders := make([]expfmt.Encoder, len(forms))
	for i, f := range forms {
		if f.gzip {
			compressors[i] = newDeflated()
		} else {
			compressors[i] = &blocks{}
		}
		encoders[i] = expfmt.NewEncoder(compressors[i], f.format)
	}
	labels := functionLabels(s.Functions)
	for i := range Metrics {
		family := Metrics[i].family(s, labels)
		if len(family.Metric) == 0 {
			continue
		}
		for _, encoder := range encoders {
			if err := encoder.Encode(family); err != nil {
				// The writers cannot fail and the families are of our own table.
				panic(fmt.Sprintf("encode %s: %v", Metrics[i].Name, err))
			}
		}
	}
	for i, f := range forms {
		compressors[i].finish()
		encodings[f] = compressors[i]
	}
	return encodings
}

// blockSize is how much of a plain encoding is decompressed at a time.
const blockSize = 256 << 10

// blocks is an encoding for scrapers that take no compression, kept in a
// format that is decompressed about as fast as memory is copied.
type blocks struct {
	compressed [][]byte
	open       []byte // not compressed yet
}

func (b *blocks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), blockSize-len(b.open))
		b.open = append(b.open, rest[:n]...)
		rest = rest[n:]
		if len(b.open) == blockSize {
			b.close()
		}
	}
	return len(p), nil
}

func (b *blocks) close() {
	b.compressed = append(b.compressed, bytes.Clone(s2.Encode(nil, b.open)))
	b.open = b.open[:0]
}

func (b *blocks) finish() {
	b.close()
	b.open = nil
}

func (b *blocks) write(w io.Writer, tail []byte) error {
	buffer := blockPool.Get().(*[blockSize]byte)
	defer blockPool.Put(buffer)
	for _, compressed := range b.compressed {
		plain, err := s2.Decode(buffer[:], compressed)
		if err != nil {
			return err
		}
		if _, err := w.Write(plain); err != nil {
			return err
		}
	}
	_, err := w.Write(tail)
	return err
}

var blockPool = sync.Pool{New: func() any { return new([blockSize]byte) }}

// deflated is an encoding for scrapers that take gzip: one gzip stream whose
// end is still open, so that a scrape can add to it. A second stream behind it
// would be valid too, but not every client reads beyond the first.
type deflated struct {
	stream bytes.Buffer // a gzip header and complete deflate blocks, none final
	writer *flate.Writer
	sum    uint32 // CRC-32 of the plain bytes
	size   uint32 // of the plain bytes, modulo 2^32 as gzip wants it
}

// gzipHeader says deflate, no name, no time, fastest compression, unknown
// system (RFC 1952).
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}

func newDeflated() *deflated {
	d := &deflated{}
	d.stream.Write(gzipHeader)
	d.writer, _ = flate.NewWriter(&d.stream, flate.BestSpeed) // fails for a level that does not exist
	return d
}

func (d *deflated) Write(p []byte) (int, error) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, p)
	d.size += uint32(len(p))
	return d.writer.Write(p)
}

// finish ends the last block at a byte's boundary without ending the stream.
func (d *deflated) finish() {
	d.writer.Flush() // into a bytes.Buffer, which takes everything
	d.writer = nil
}

func (d *deflated) write(w io.Writer, tail []byte) error {
	if _, err := w.Write(d.stream.Bytes()); err != nil {
		return err
	}
	writer := flateWriters.Get().(*flate.Writer)
	defer flateWriters.Put(writer)
	writer.Reset(w)
	if _, err := writer.Write(tail); err != nil {
		return err
	}
	if err := writer.Close(); err != nil { // writes the final block
		return err
	}
	trailer := binary.LittleEndian.AppendUint32(nil, crc32.Update(d.sum, crc32.IEEETable, tail))
	_, err := w.Write(binary.LittleEndian.AppendUint32(trailer, d.size+uint32(len(tail))))
	return err
}

var flateWriters = sync.Pool{New: func() any {
	writer, _ := flate.NewWriter(nil, flate.BestSpeed)
	return writer
}}
