package main

import (
	"errors"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// oneLine makes a text one line without anything that a terminal would obey.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }), " ")
}

// plain turns an error of a call into a line for people: its message, and the fields that are wrong if the message does not
// name them.
func plain(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := s.Message()
	for _, d := range s.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if !strings.Contains(text, v.GetDescription()) {
				text += "; " + v.GetField() + ": " + v.GetDescription()
			}
		}
	}
	return errors.New(text)
}
