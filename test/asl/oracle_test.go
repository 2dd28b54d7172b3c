//go:build awstest

// Package asl holds the interpreter of state machines in platform/workflow against one that nobody here wrote: the same definitions
// with the same outcomes of their tasks go through both, and have to end alike, after the same calls and the same time. Where they
// differ the difference has a name here, and docs/aws-stand-ins.md says who is right.
package asl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// oracle is the other interpreter, one process for all tests.
type oracle struct {
	in  io.Writer
	out *bufio.Reader
	mu  sync.Mutex
}

var other = sync.OnceValues(startOracle)

func startOracle() (*oracle, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, ".tools", "standins", "asl")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		return nil, err
	}
	cmd := exec.Command("node", filepath.Join(root, "tools", "standins", "asl", "oracle.cjs"))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// It ends with its standard input, which ends with this process.
	return &oracle{in: in, out: bufio.NewReader(out)}, cmd.Start()
}

func theOracle(t testing.TB) *oracle {
	t.Helper()
	o, err := other()
	if err != nil {
		t.Fatalf("the other interpreter did not start (%v): run tools/standins.sh, or make test-aws, which does", err)
	}
	return o
}

// message is a line from the oracle.
type message struct {
	Valid    *bool
	Why      string
	Call     int
	Resource string
	Input    json.RawMessage
	Status   string
	Output   json.RawMessage
	Error    string
	Cause    string
	Seconds  float64
	States   []string
	Fan      bool
}

func (o *oracle) say(t testing.TB, v any) {
	t.Helper()
	line, err := json.Marshal(v)
	if err == nil {
		_, err = o.in.Write(append(line, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (o *oracle) hear(t testing.TB) message {
	t.Helper()
	line, err := o.out.ReadBytes('\n')
	var m message
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err != nil {
		t.Fatalf("the other interpreter ended or said nonsense: %v: %s", err, line)
	}
	return m
}

// validate says what is wrong with a definition, "" if it is right.
func (o *oracle) validate(t testing.TB, definition []byte) string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.say(t, map[string]any{"validate": json.RawMessage(definition)})
	if m := o.hear(t); m.Valid == nil || !*m.Valid {
		return m.Why
	}
	return ""
}

// run executes a definition whose tasks do what the script says.
func (o *oracle) run(t testing.TB, definition []byte, input json.RawMessage, s *script) result {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.say(t, map[string]any{"run": json.RawMessage(definition), "input": input, "name": "one"})
	for {
		m := o.hear(t)
		if m.Call == 0 {
			return result{
				Status: m.Status, Output: canonical(t, m.Output), Error: m.Error, Cause: m.Cause, Seconds: m.Seconds,
				States: m.States, Calls: s.calls, fan: m.Fan,
			}
		}
		o.say(t, s.reply(t, m))
	}
}

// reply does a task of the oracle's.
func (s *script) reply(t testing.TB, m message) map[string]any {
	t.Helper()
	var in struct {
		FunctionName         string
		Queue                string `json:"QueueUrl"`
		Payload, MessageBody json.RawMessage
	}
	if err := json.Unmarshal(m.Input, &in); err != nil {
		t.Fatal(err)
	}
	reply := map[string]any{"call": m.Call}
	name, request := in.FunctionName, in.Payload
	if m.Resource != invoke {
		name, request = in.Queue, in.MessageBody
		var text string
		if json.Unmarshal(request, &text) == nil {
			request = json.RawMessage(text)
		}
	}
	if len(request) == 0 {
		request = json.RawMessage("{}")
	}
	a := s.answer(t, name, request)
	switch m.Resource {
	case send:
		reply["result"] = map[string]any{}
		return reply
	case sendAndWait:
		reply["after"] = 1
	}
	switch {
	case a.Hangs:
		reply["hangs"] = true
	case a.Error != "":
		reply["error"], reply["cause"] = a.Error, a.Cause
	case m.Resource == invoke:
		reply["result"] = map[string]any{"StatusCode": 200, "Payload": a.Output}
	default:
		reply["result"] = a.Output
	}
	return reply
}

// canonical is JSON with sorted names, so that equal values are equal texts.
func canonical(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	if len(raw) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
