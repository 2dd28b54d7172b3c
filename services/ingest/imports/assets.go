package imports

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// assetColumns are names of the column that holds the asset, criticalityColumns of that with its criticality.
var (
	assetColumns       = []string{"asset", "target", "value", "host", "hostname", "domain", "ip", "address", "url", "name"}
	criticalityColumns = []string{"criticality", "importance"}
)

// Bounds of labels are those of the contract of Asset.
const (
	maxLabels     = 32
	maxLabelName  = 63
	maxLabelValue = 256
	maxCritical   = 5
)

// parseCSV reads assets: one a row. With names in the first row, columns "criticality" (1 to 5) and "labels" (name=value, joined with
// semicolons) are read too, and every other column is a label of its name. Without names the first column is the asset.
func parseCSV(ctx context.Context, r *report) error {
	head, err := r.head(ctx)
	if err != nil {
		return err
	}
	separator := ','
	if firstLine, _, _ := strings.Cut(head, "\n"); strings.Count(firstLine, ";") > strings.Count(firstLine, ",") {
		separator = ';'
	}
	var names []string
	began := false
	return r.rows(ctx, separator, func(line int, row []string) error {
		if strings.HasPrefix(row[0], "#") {
			return nil
		}
		if !began {
			began = true
			row[0] = strings.TrimPrefix(row[0], "\ufeff")
			if names = header(row); names != nil {
				return nil
			}
		}
		rec, problem := assetOf(line, names, row)
		if problem != "" {
			return r.problem(line, problem)
		}
		return r.record(rec)
	})
}

// header are the names of the columns, nil if the row holds an asset and no names.
func header(row []string) []string {
	var names []string
	known := false
	for _, cell := range row {
		name := strings.ToLower(strings.TrimSpace(cell))
		names = append(names, name)
		known = known || slices.Contains(assetColumns, name)
	}
	if !known {
		return nil
	}
	return names
}

func assetOf(line int, names, row []string) (rec Record, problem string) {
	rec = Record{Line: line}
	if names == nil {
		rec.Asset = strings.TrimSpace(row[0])
	}
	for i, cell := range row {
		cell = strings.TrimSpace(cell)
		if i >= len(names) || cell == "" {
			continue
		}
		switch name := names[i]; {
		case slices.Contains(assetColumns, name) && rec.Asset == "":
			rec.Asset = cell
		case slices.Contains(criticalityColumns, name):
			n, err := strconv.ParseInt(cell, 10, 32)
			if err != nil || n < 1 || n > maxCritical {
				return rec, fmt.Sprintf("criticality %q is not a number from 1 to %d", cell, maxCritical)
			}
			rec.Criticality = int32(n)
		case name == "labels" || name == "tags":
			for pair := range strings.SplitSeq(cell, ";") {
				k, v, _ := strings.Cut(pair, "=")
				label(&rec, k, v)
			}
		default:
			label(&rec, name, cell)
		}
	}
	if rec.Asset == "" {
		return rec, "row names no asset"
	}
	if len(rec.Labels) > maxLabels {
		return rec, fmt.Sprintf("row has more than %d labels", maxLabels)
	}
	return rec, ""
}

func label(rec *Record, name, value string) {
	name, value = safe(name, maxLabelName), safe(value, maxLabelValue)
	if name == "" {
		return
	}
	if rec.Labels == nil {
		rec.Labels = map[string]string{}
	}
	rec.Labels[name] = value
}
