package render_test

import (
	"os"
	"testing"

	"github.com/riskprofiler/riskprofiler/services/reporter/render"
)

func TestDump(t *testing.T) {
	for name, d := range map[string]any{"rich": nil, "large": nil} {
		_ = d
		doc := richDocument()
		if name == "large" {
			doc = largeDocument(500)
		}
		raw, _ := render.JSON(doc)
		os.WriteFile("/tmp/"+name+".json", raw, 0o644)
	}
}
