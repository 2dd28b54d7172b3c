package query

import (
	"fmt"
	"strconv"
	"time"

	smithytime "github.com/aws/smithy-go/time"
)

// The values of encoding/xml take an empty element for zero or false. An answer that says nothing where a number or a word belongs is broken,
// and the SDK says so.

// Bool is true or false; false where it is missing.
type Bool bool

// UnmarshalText reads it as the SDK does.
func (b *Bool) UnmarshalText(text []byte) error {
	v, err := strconv.ParseBool(string(text))
	*b = Bool(v)
	return err
}

// Int is a number.
type Int int32

// UnmarshalText reads it as the SDK does, which yet takes the lower half of one that is too long.
func (i *Int) UnmarshalText(text []byte) error {
	v, err := strconv.ParseInt(string(text), 10, 32)
	*i = Int(v)
	return err
}

// Time is a moment; zero where it is missing.
type Time struct{ time.Time }

// UnmarshalText reads it as the SDK does.
func (t *Time) UnmarshalText(text []byte) error {
	v, err := smithytime.ParseDateTime(string(text))
	if err != nil {
		return fmt.Errorf("read a time: %w", err)
	}
	t.Time = v
	return nil
}
