package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/scwatch/scwatch/collector"
	"github.com/scwatch/scwatch/internal/printable"
)

type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Error   *junitDetail `xml:"error"`
		Failure *junitDetail `xml:"failure"`
		Skipped *junitDetail `xml:"skipped"`
		Out     string       `xml:"system-out,omitempty"`
	}
	junitDetail struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes r for the test page of a pipeline: one suite says whether
// everything could be read, and one a check what it found. A finding below
// failOn is skipped there, as an excepted one is, so that the page and the exit
// code agree.
func (r *Report) WriteJUnit(w io.Writer, failOn collector.Severity) error {
	all := junitSuites{Name: "scwatch audit"}
	reading := junitSuite{Name: "reading"}
	for _, u := range r.Unread {
		reading.add(junitCase{Class: "reading", Name: printable.Line(u.place()), Error: &junitDetail{Message: printable.Line(u.Error), Type: "unread"}})
	}
	summary := junitCase{Class: "reading", Name: "everything could be read", Out: strings.Join(append(r.warnings(), r.summary()), "\n")}
	if !r.Complete {
		summary.Error = &junitDetail{Message: r.warnings()[0], Type: "incomplete"}
	}
	reading.Cases = append([]junitCase{summary}, reading.Cases...)
	reading.count(summary)
	all.add(reading)
	for _, check := range r.Checks {
		suite := junitSuite{Name: check.ID}
		for _, f := range r.Findings {
			if f.Check == check.ID {
				suite.add(newCase(f, check, failOn))
			}
		}
		for _, f := range r.Excepted {
			if f.Check == check.ID {
				c := newCase(f, check, failOn)
				c.Failure, c.Skipped = nil, &junitDetail{Message: "excepted by " + printable.Line(f.Exception.answered())}
				suite.add(c)
			}
		}
		all.add(suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func newCase(f Finding, check Check, failOn collector.Severity) junitCase {
	fn := f.Function
	c := junitCase{Class: check.ID, Name: printable.Line(fmt.Sprintf("%s / %s / %s / %s", fn.Project, fn.Region, fn.Namespace, fn.Name))}
	message := printable.Line(fmt.Sprintf("%s: %s", f.Severity, f.told()))
	if !reaches(f.Severity, failOn) {
		c.Skipped = &junitDetail{Message: message + " (below --fail-on)"}
		return c
	}
	c.Failure = &junitDetail{Message: message, Type: string(f.Severity), Text: printable.Line(fmt.Sprintf("%s Console: %s CLI: %s Terraform: %s", check.Why, check.Remedy.Console, f.Command, check.Remedy.Terraform))}
	return c
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.count(c)
}

func (s *junitSuite) count(c junitCase) {
	s.Tests++
	switch {
	case c.Error != nil:
		s.Errors++
	case c.Failure != nil:
		s.Failures++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func (all *junitSuites) add(s junitSuite) {
	all.Suites = append(all.Suites, s)
	all.Tests += s.Tests
	all.Failures += s.Failures
	all.Errors += s.Errors
	all.Skipped += s.Skipped
}
