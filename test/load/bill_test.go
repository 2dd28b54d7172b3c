package load

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/table"
)

// bill counts what AWS would put on the bill.
type bill struct {
	// table and queue are calls that were answered, refused those that were not.
	table, queue, refused atomic.Int64
	// readUnits and writeUnits are DynamoDB's request units.
	readUnits, writeUnits atomic.Int64
	// sent, receives, empty, deletes and changes are calls of SQS by kind; empty receives found nothing.
	sent, receives, empty, deletes, changes atomic.Int64
	// invocations of functions by queues and by the state machine; scans are those of scan functions.
	invocations, scans atomic.Int64
	// steps are state transitions.
	steps atomic.Int64
	// blobs are puts to S3.
	blobs atomic.Int64
}

// used is a bill at one moment, or between two.
type used map[string]float64

func (b *bill) snapshot() used {
	return used{
		"SQS requests": float64(b.queue.Load()), "DynamoDB read units": float64(b.readUnits.Load()),
		"DynamoDB write units": float64(b.writeUnits.Load()), "DynamoDB calls": float64(b.table.Load()),
		"Lambda invocations": float64(b.invocations.Load()), "Step Functions transitions": float64(b.steps.Load()),
		"S3 puts": float64(b.blobs.Load()), "scan invocations": float64(b.scans.Load()),
	}
}

func (u used) less(before used) used {
	out := used{}
	for name, n := range u {
		out[name] = n - before[name]
	}
	return out
}

// read counts one call and its units: one for each started 4 KB, strongly consistent
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
func (b *bill) read(bytes, calls int) {
	b.table.Add(int64(calls))
	b.units(bytes)
}

func (b *bill) units(bytes int) { b.readUnits.Add(int64(max(1, (bytes+4095)/4096))) }

// write counts one call and its units: one for each started KB of an item and of each index that it is in, two of each in a
// transaction.
func (b *bill) write(writes []table.Write) {
	b.table.Add(1)
	units := 0
	for _, w := range writes {
		n := max(1, (w.Item.Size()+1023)/1024)
		units += n
		if !w.Check && !w.Delete {
			units += n * len(w.Item.Indexes)
		}
	}
	if len(writes) > 1 {
		units *= 2
	}
	b.writeUnits.Add(int64(units))
}

// prices in dollars for one of each, us-east-1, on demand, without the free tier: the pages of SQS (FIFO), DynamoDB, Lambda (Arm),
// Step Functions (Standard) and S3 under https://aws.amazon.com/pricing/. docs/cost.md says when they were read.
var prices = map[string]float64{
	"SQS requests": 0.50e-6, "DynamoDB read units": 0.125e-6, "DynamoDB write units": 0.625e-6,
	"Lambda invocations": 0.20e-6, "Lambda GB-seconds": 13.3334e-6, "Step Functions transitions": 25e-6, "S3 puts": 5e-6,
}

// Assumptions of the cost model that a simulation cannot measure.
const (
	scanGiB = 0.5
	// callSeconds is how long a call of a function of callGiB that is no scan takes.
	callSeconds, callGiB = 0.02, 0.25
)

// order is that of the table in docs/cost.md.
var order = []string{
	"SQS requests", "DynamoDB read units", "DynamoDB write units", "Lambda invocations", "Lambda GB-seconds", "Step Functions transitions", "S3 puts",
}

// tolerance is how far a figure in docs/cost.md may be from the measured one: how jobs fall into batches differs from run to run.
const tolerance = 0.15

var costRow = regexp.MustCompile(`(?m)^\| ([A-Za-z0-9 -]+?) +\| +([0-9.]+) +\| +\$([0-9.]+) +\|$`)

// checkCosts prints what a scan job costs and compares it with docs/cost.md.
func checkCosts(t *testing.T, u used, jobs int) {
	t.Helper()
	text, err := os.ReadFile("../../docs/cost.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]float64{}
	for _, row := range costRow.FindAllStringSubmatch(string(text), -1) {
		written[strings.TrimSpace(row[1])], _ = strconv.ParseFloat(row[2], 64)
	}
	u["Lambda GB-seconds"] = u["scan invocations"]*scanGiB*scanTime.Seconds() + (u["Lambda invocations"]-u["scan invocations"])*callGiB*callSeconds
	var table strings.Builder
	total := 0.0
	for _, name := range order {
		each := u[name] / float64(jobs)
		cost := 1000 * each * prices[name]
		total += cost
		fmt.Fprintf(&table, "| %-27s | %8.2f | $%.4f |\n", name, each, cost)
		if was := written[name]; was < each*(1-tolerance) || was > each*(1+tolerance) {
			t.Errorf("docs/cost.md says %.2f %s for each scan job, measured are %.2f", was, name, each)
		}
	}
	t.Logf("for each scan job, and 1,000 of them in dollars:\n%s| together                    |          | $%.4f |\nDynamoDB calls for each job: %.2f", table.String(), total, u["DynamoDB calls"]/float64(jobs))
}
