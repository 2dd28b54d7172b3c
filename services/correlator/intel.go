package correlator

import (
	"errors"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Intel is vulnerability knowledge, read-only: one snapshot, or nothing newer. It is safe for concurrent use.
type Intel interface {
	// Product returns the record of a product, keyed as modelv1.ProductRecord says, or fault.NotFound.
	Product(key string) (*modelv1.ProductRecord, error)
	// Advisory returns an advisory by its id, or fault.NotFound.
	Advisory(id string) (*modelv1.Advisory, error)
	// Version grows with every snapshot; two versions compare by compareIntel.
	Version() string
}

// mapIntel is vulnerability knowledge in memory: of the examples of checks, and of tests.
type mapIntel struct {
	version    string
	products   map[string]*modelv1.ProductRecord
	advisories map[string]*modelv1.Advisory
}

// newMapIntel joins records and advisories.
func newMapIntel(version string, products []*modelv1.ProductRecord, advisories []*modelv1.Advisory) *mapIntel {
	m := &mapIntel{version: version, products: map[string]*modelv1.ProductRecord{}, advisories: map[string]*modelv1.Advisory{}}
	for _, p := range products {
		m.products[p.GetKey()] = p
	}
	for _, a := range advisories {
		m.advisories[a.GetId()] = a
	}
	return m
}

// Product returns a record.
func (m *mapIntel) Product(key string) (*modelv1.ProductRecord, error) {
	if p := m.products[key]; p != nil {
		return p, nil
	}
	return nil, fault.New(fault.NotFound, "intel knows no product %s", key)
}

// Advisory returns an advisory.
func (m *mapIntel) Advisory(id string) (*modelv1.Advisory, error) {
	if a := m.advisories[id]; a != nil {
		return a, nil
	}
	return nil, fault.New(fault.NotFound, "intel knows no advisory %s", id)
}

// Version is the version that it was made with.
func (m *mapIntel) Version() string { return m.version }

// productOf is the record of a product, nil if there is none.
func productOf(in Intel, key string) (*modelv1.ProductRecord, error) {
	p, err := in.Product(key)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	return p, err
}

// advisoryOf is an advisory that counts, nil if there is none or it was withdrawn.
func advisoryOf(in Intel, id string) (*modelv1.Advisory, error) {
	a, err := in.Advisory(id)
	if errors.Is(err, fault.NotFound) || err == nil && a.GetWithdrawn() {
		return nil, nil
	}
	return a, err
}
