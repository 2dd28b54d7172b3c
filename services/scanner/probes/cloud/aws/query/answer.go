package query

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/ec2query"
	awsxml "github.com/aws/aws-sdk-go-v2/aws/protocol/xml"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// errNoAnswer says that nothing was answered, and nothing failed.
var errNoAnswer = errors.New("no answer")

// deserialize reads an answer (service/ec2/deserializers.go).
func (c *Client) deserialize(one *call) func(context.Context, middleware.DeserializeInput, middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	return func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (out middleware.DeserializeOutput, metadata middleware.Metadata, err error) {
		out, metadata, err = next.HandleDeserialize(ctx, in)
		response, ok := out.RawResponse.(*smithyhttp.Response)
		if !ok {
			if err == nil {
				err = &smithy.DeserializationError{Err: fmt.Errorf("unknown transport type %T", out.RawResponse)}
			}
			return out, metadata, err
		}
		defer func() { smithyhttp.CloseResponseBody(ctx, response, false, err) }()
		switch {
		case err != nil:
		case response.StatusCode < 200 || response.StatusCode >= 300:
			err = c.service.refusal(response, &metadata)
		default:
			out.Result = one.fresh()
			if err = c.service.decode(response.Body, one.operation, out.Result); err != nil {
				err = &smithy.DeserializationError{Err: fmt.Errorf("failed to decode response body, %w", err)}
			}
		}
		return out, metadata, err
	}
}

// decode reads an answer into a struct. One that is cut, however late, is an error, and so is one that answers something else; the SDK
// looks at neither, and takes an empty one for one without content. What the struct does not have is passed over.
func (s Service) decode(from io.Reader, operation string, into any) error {
	d := xml.NewDecoder(from)
	root, err := child(d)
	if err != nil {
		return err
	}
	if want := operation + "Response"; root == nil || root.Name.Local != want {
		return fmt.Errorf("its root is no %s", want)
	}
	if s.dialect == ec2Query {
		return d.DecodeElement(into, root)
	}
	want := operation + "Result"
	for {
		result, err := child(d)
		switch {
		case err != nil:
			return err
		case result == nil:
			return fmt.Errorf("%s node not found", want)
		case result.Name.Local != want:
			err = d.Skip()
		default:
			return errors.Join(d.DecodeElement(into, result), d.Skip()) // to the end of the root
		}
		if err != nil {
			return err
		}
	}
}

// child is the next element at the place where a decoder is; nil at the end of the one around it.
func child(d *xml.Decoder) (*xml.StartElement, error) {
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) { // outside of all elements: the answer is empty
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		}
	}
}

// unknownCode is the SDK's word for an error that has none.
const unknownCode = "UnknownError"

// refusal reads an error.
func (s Service) refusal(response *smithyhttp.Response, metadata *middleware.Metadata) error {
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return &smithy.DeserializationError{Err: fmt.Errorf("failed to copy error response body, %w", err)}
	}
	var found awsxml.ErrorComponents
	if s.dialect == ec2Query {
		var inner ec2query.ErrorComponents
		inner, err = ec2query.GetErrorResponseComponents(bytes.NewReader(raw))
		found = awsxml.ErrorComponents(inner)
	} else {
		found, err = awsxml.GetErrorResponseComponents(bytes.NewReader(raw), false)
	}
	if err != nil {
		return err
	}
	if found.RequestID != "" {
		awsmiddleware.SetRequestIDMetadata(metadata, found.RequestID)
	}
	out := &smithy.GenericAPIError{Code: unknownCode, Message: unknownCode}
	if found.Code != "" {
		out.Code = found.Code
	}
	if found.Message != "" {
		out.Message = found.Message
	}
	return out
}
