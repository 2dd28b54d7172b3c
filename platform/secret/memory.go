package secret

import (
	"context"
	"slices"
	"sync"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// Memory keeps secrets in this process and nowhere else: for a run that ends with it. The zero value is empty.
type Memory struct {
	mu     sync.Mutex
	values map[[2]string][]byte
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, tenant, name string) ([]byte, error) {
	if err := Check(tenant, name); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[[2]string{tenant, name}]
	if !ok {
		return nil, fault.New(fault.NotFound, "read secret: there is no %s of this tenant", name)
	}
	return slices.Clone(value), nil
}

// Put implements [Store].
func (m *Memory) Put(_ context.Context, tenant, name string, value []byte) error {
	if err := Check(tenant, name); err != nil {
		return err
	}
	if err := CheckValue(value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = map[[2]string][]byte{}
	}
	m.values[[2]string{tenant, name}] = slices.Clone(value)
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, tenant, name string) error {
	if err := Check(tenant, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, [2]string{tenant, name})
	return nil
}

// List implements [Store].
func (m *Memory) List(_ context.Context, tenant string) ([]string, error) {
	if err := CheckTenant(tenant); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for place := range m.values {
		if place[0] == tenant {
			names = append(names, place[1])
		}
	}
	slices.Sort(names)
	return names[:min(len(names), MaxNames)], nil
}
