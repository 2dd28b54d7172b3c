package correlator

import (
	_ "embed" // data files
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

//go:embed data/products.yaml
var productsFile []byte

// productData is one product of data/products.yaml.
type productData struct {
	Key      string            `yaml:"key"`
	Also     []string          `yaml:"also"`
	Names    []string          `yaml:"names"`
	Package  string            `yaml:"package"`
	Packages map[string]string `yaml:"packages"`
}

// productNames finds a product by each of its names.
type productNames struct {
	Dated    string         `yaml:"dated"`
	Products []*productData `yaml:"products"`

	byKey, byName map[string]*productData
}

// products is data/products.yaml, read when it is first needed.
var products = sync.OnceValues(func() (*productNames, error) {
	p := &productNames{byKey: map[string]*productData{}, byName: map[string]*productData{}}
	if err := yaml.Unmarshal(productsFile, p); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "read data/products.yaml")
	}
	for _, d := range p.Products {
		for _, key := range append([]string{d.Key}, d.Also...) {
			if p.byKey[key] != nil || strings.Count(key, ":") != 1 {
				return nil, fault.New(fault.Internal, "read data/products.yaml: %q is named twice or is no vendor:product", key)
			}
			p.byKey[key] = d
		}
		for _, name := range d.Names {
			if p.byName[name] != nil {
				return nil, fault.New(fault.Internal, "read data/products.yaml: name %q is used twice", name)
			}
			p.byName[name] = d
		}
	}
	return p, nil
})

// canonical is the name that counts of a vendor:product.
func (p *productNames) canonical(key string) string {
	if d := p.byKey[key]; d != nil {
		return d.Key
	}
	return key
}

// named is the key of a product that a probe calls by name, "" if it is not known.
func (p *productNames) named(name string) string {
	if d := p.byName[strings.ToLower(strings.TrimSpace(name))]; d != nil {
		return d.Key
	}
	return ""
}

// keys are all names under which intel may know a product.
func (p *productNames) keys(canonical string) []string {
	if d := p.byKey[canonical]; d != nil {
		return append([]string{d.Key}, d.Also...)
	}
	return []string{canonical}
}

// rpmFamily are the ecosystems whose packages are called as in Fedora.
var rpmFamily = map[string]bool{
	"Red Hat": true, "AlmaLinux": true, "Rocky Linux": true, "openEuler": true, "SUSE": true, "openSUSE": true, "Mageia": true, "Fedora": true,
	"CentOS": true, "Amazon Linux": true, "Oracle Linux": true,
}

// packageKey is the key of a product's package in a distribution's OSV records, "Debian:12/openssh"; "" if the release or the package is
// not known.
func (p *productNames) packageKey(canonical, distribution, version string) string {
	family, _, released := strings.Cut(distribution, ":")
	d := p.byKey[canonical]
	if d == nil || !released {
		return ""
	}
	name := d.Packages[family]
	if name == "" && rpmFamily[family] {
		name = d.Packages["rpm"]
	}
	if name == "" {
		name = d.Package
	}
	if name == "" {
		return ""
	}
	numbers := strings.SplitN(version, ".", 3)
	name = strings.ReplaceAll(name, "{1}", numbers[0])
	if strings.Contains(name, "{2}") {
		if len(numbers) < 2 {
			return ""
		}
		name = strings.ReplaceAll(name, "{2}", numbers[0]+"."+numbers[1])
	}
	return distribution + "/" + name
}
