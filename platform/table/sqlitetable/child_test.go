//go:build unix

package sqlitetable_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/sqlitetable"
)

// The test binary starts itself again as another process; these say what that one does.
const (
	childRole = "SQLITETABLE_TEST_CHILD"
	childPath = "SQLITETABLE_TEST_PATH"
	childName = "SQLITETABLE_TEST_NAME"
)

func TestMain(m *testing.M) {
	roles := map[string]func(context.Context, *table.Table, string) error{
		"writer": writeForever, "counter": countAlong,
	}
	role, ok := roles[os.Getenv(childRole)]
	if !ok {
		goleak.VerifyTestMain(m)
		return
	}
	db, err := sqlitetable.Open(context.Background(), sqlitetable.Options{Path: os.Getenv(childPath)})
	if err == nil {
		err = role(context.Background(), things(db), os.Getenv(childName))
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func things(db *sqlitetable.DB) *table.Table {
	return table.New(db.Table("things"), table.Options{Name: "things"})
}

// child prepares another process on the file.
func child(t *testing.T, role, path, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path, childName+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

func counter(k table.Key, n uint64, condition table.Condition) table.Write {
	return table.Write{Item: table.Item{Key: k, Value: binary.BigEndian.AppendUint64(nil, n)}, If: condition}
}

// writers is how many goroutines of a child write at once, each its own sequence of batches.
const writers = 4

// batch is write n of a sequence: two new items, one of them in an index, and the count.
func batch(p string, n int64) []table.Write {
	place := table.Key{Partition: p, Sort: fmt.Sprintf("%06d", n)}
	value := []byte(strings.Repeat(fmt.Sprintf("%s %d;", p, n), 50))
	return []table.Write{
		{Item: table.Item{Key: table.Key{Partition: p, Sort: fmt.Sprintf("a%06d", n)}, Value: value}},
		{Item: table.Item{Key: table.Key{Partition: p, Sort: fmt.Sprintf("b%06d", n)}, Value: value,
			Indexes: map[string]table.Key{"i": place}}},
		counter(table.Key{Partition: p, Sort: "count"}, uint64(n), table.Condition(n-1)),
	}
}

// writeForever writes batches and prints each that was acknowledged, until it is killed.
func writeForever(ctx context.Context, tab *table.Table, name string) error {
	var g errgroup.Group
	for w := range writers {
		p := fmt.Sprintf("%s-%d", name, w)
		g.Go(func() error {
			for n := int64(1); ; n++ {
				if err := tab.Write(ctx, batch(p, n)...); err != nil {
					return err
				}
				if _, err := fmt.Printf("%s %d\n", p, n); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// TestKill kills a writing process again and again. Whatever it acknowledged must be there, and of
// every batch all or nothing.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	acknowledged := map[string]int64{}
	for round := range 20 {
		cmd := child(t, "writer", path, fmt.Sprint("round", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for scan := bufio.NewScanner(out); scan.Scan(); lines++ {
			var p string
			var n int64
			if _, err := fmt.Sscan(scan.Text(), &p, &n); err != nil {
				break // the last line may be cut
			}
			acknowledged[p] = n
			if lines == 10+round*7 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("round %d: child ended with %v", round, err)
		}
		if len(acknowledged) < round*writers {
			t.Fatalf("round %d: only %d sequences acknowledged anything", round, len(acknowledged))
		}
		db := openDB(t, sqlitetable.Options{Path: path})
		if err := db.Check(context.Background()); err != nil {
			t.Fatal(err)
		}
		for p, n := range acknowledged {
			checkSequence(t, things(db), p, n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSequence looks for the batches of a sequence: at least those that were acknowledged.
func checkSequence(t *testing.T, tab *table.Table, p string, acknowledged int64) {
	t.Helper()
	ctx := context.Background()
	last, err := tab.Get(ctx, table.Key{Partition: p, Sort: "count"})
	if err != nil {
		t.Fatal(err)
	}
	count := int64(binary.BigEndian.Uint64(last.Value))
	if count < acknowledged || last.Revision != count {
		t.Fatalf("%s: count is %d at revision %d, %d were acknowledged", p, count, last.Revision, acknowledged)
	}
	for _, q := range []table.Query{{Partition: p, Prefix: "a"}, {Partition: p, Prefix: "b"}, {Partition: p, Index: "i"}} {
		n := int64(0)
		for {
			page, err := tab.Query(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				n++
				if string(item.Value) != string(batch(p, n)[0].Item.Value) {
					t.Fatalf("%s: item %d has another value: %q", p, n, item.Value)
				}
			}
			if q.PageToken = page.NextPageToken; q.PageToken == "" {
				break
			}
		}
		if n != count {
			t.Fatalf("%s: query %+v finds %d items, count is %d", p, q, n, count)
		}
	}
}

const (
	countProcesses = 3
	countEach      = 60
)

// countAlong waits for its standard input to end and then counts up with all the others.
func countAlong(ctx context.Context, tab *table.Table, name string) error {
	if _, err := bufio.NewReader(os.Stdin).ReadByte(); err == nil {
		return errors.New("unexpected input")
	}
	return countUp(ctx, tab, name)
}

// countUp counts an item up that the others count too, and puts an item of its own beside it.
func countUp(ctx context.Context, tab *table.Table, name string) error {
	k := table.Key{Partition: "p", Sort: "count"}
	for done := 0; done < countEach; {
		item, err := tab.Get(ctx, k)
		n := uint64(0)
		switch {
		case err == nil:
			n = binary.BigEndian.Uint64(item.Value)
		case !errors.Is(err, fault.NotFound):
			return err
		}
		own := table.Key{Partition: "q", Sort: fmt.Sprintf("%s %d", name, done)}
		err = tab.Write(ctx, counter(k, n+1, table.Condition(item.Revision)), table.Write{Item: table.Item{Key: own}})
		switch {
		case err == nil:
			done++
		case !errors.Is(err, fault.Conflict):
			return err
		}
	}
	return nil
}

// TestProcessesShareAFile opens a new file in several processes at once and lets them count one item
// up together with this process.
func TestProcessesShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tables.db")
	var g errgroup.Group
	var inputs []func() error
	for i := range countProcesses {
		cmd := child(t, "counter", path, fmt.Sprint("process", i))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, in.Close) // its end is the sign to start
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		g.Go(cmd.Wait)
	}
	db := openDB(t, sqlitetable.Options{Path: path})
	for _, start := range inputs {
		if err := start(); err != nil {
			t.Fatal(err)
		}
	}
	const here = 4
	for i := range here {
		g.Go(func() error { return countUp(context.Background(), things(db), fmt.Sprint("here", i)) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	item, err := things(db).Get(context.Background(), table.Key{Partition: "p", Sort: "count"})
	const want = (countProcesses + here) * countEach
	if err != nil || binary.BigEndian.Uint64(item.Value) != want || item.Revision != want {
		t.Errorf("count is %v, %v, want %d", item, err, want)
	}
	page, err := things(db).Query(context.Background(), table.Query{Partition: "q"})
	if err != nil || len(page.Items) != want {
		t.Errorf("found %d items, %v, want %d", len(page.Items), err, want)
	}
	if err := db.Check(context.Background()); err != nil {
		t.Error(err)
	}
}
