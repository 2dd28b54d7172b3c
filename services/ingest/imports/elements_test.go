package imports

import (
	"errors"
	"strings"
	"testing"
)

// An array may have as many elements as a report, whatever they are: bare numbers are counted like the rest.
func TestElementsOfArrays(t *testing.T) {
	for name, element := range map[string]string{"numbers": `1,`, "texts": `"a,",`, "objects": `{},`, "arrays": `[],`} {
		// A few below the bound: the brackets around have marks too.
		if err := new(jsonState).take([]byte("[" + strings.Repeat(element, MaxElements-10))); err != nil {
			t.Errorf("%s up to the bound: %v", name, err)
		}
		if err := new(jsonState).take([]byte("[" + strings.Repeat(element, MaxElements+10))); !errors.Is(err, errElements) {
			t.Errorf("%s beyond the bound: %v", name, err)
		}
	}
	if err := new(jsonState).take([]byte(`{"a":[` + strings.Repeat(`{"b":1,"c":"d"},`, MaxElements/4) + `],"e":1}`)); err != nil {
		t.Errorf("objects with members: %v", err)
	}
}
