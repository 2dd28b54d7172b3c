package query

import (
	"context"
	"maps"
	"net/url"
)

// Page is what an answer is that may have another after it: its next is the token by which to ask for that.
type Page interface{ next() string }

// Services name the token of the next page in four ways.
type (
	ec2Token struct {
		NextToken string `xml:"nextToken"`
	}
	snsToken struct {
		NextToken string `xml:"NextToken"`
	}
	marker struct {
		Marker string `xml:"Marker"`
	}
	nextMarker struct {
		NextMarker string `xml:"NextMarker"`
	}
)

func (t ec2Token) next() string   { return t.NextToken }
func (t snsToken) next() string   { return t.NextToken }
func (t marker) next() string     { return t.Marker }
func (t nextMarker) next() string { return t.NextMarker }

// Pages is a listing. It ends where the service names no next page, and never for a service that always does: whoever reads it counts.
type Pages[O Page] struct {
	client *Client
	one    call
	begun  bool
	token  string
}

// List begins a listing, and calls nothing.
func List[O Page](c *Client, o Operation[O], input url.Values) *Pages[O] {
	return &Pages[O]{client: c, one: call{operation: string(o), input: input, paged: true}}
}

// HasMorePages says whether there is a page to ask for.
func (p *Pages[O]) HasMorePages() bool { return !p.begun || p.token != "" }

// NextPage asks for one. After an error it asks for the same again.
func (p *Pages[O]) NextPage(ctx context.Context) (*O, error) {
	one := p.one
	if p.token != "" {
		one.input = maps.Clone(one.input)
		if one.input == nil {
			one.input = url.Values{}
		}
		one.input.Set(p.client.service.token, p.token)
	}
	out, err := do[O](ctx, p.client, &one)
	if err != nil {
		return nil, err
	}
	p.begun, p.token = true, (*out).next()
	return out, nil
}
