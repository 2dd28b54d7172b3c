package authn

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/riskprofiler/riskprofiler/platform/fault"
)

// PolicyExtension is the method option that declares a method's policy.
const PolicyExtension = "riskprofiler.access.v1.policy"

// The fields of the option's message.
const (
	fieldRoles      = 1 // repeated string
	fieldCallers    = 2 // repeated string
	fieldPublic     = 3 // bool
	fieldTenantless = 4 // bool
)

// Policy is who may call a method.
type Policy struct {
	// Roles lists every role whose holders may call, through the gateway or one of Callers.
	Roles []string
	// Callers are the services that may call for themselves, and for people beside the gateway.
	Callers []string
	// Public lets everybody call, without credentials; such a call has no principal.
	Public bool
	// Tenantless lets a principal call that has no tenant.
	Tenantless bool
}

// Permit says whether p may call, as PermissionDenied if not.
func (p Policy) Permit(who Principal) error {
	if p.Public {
		return nil
	}
	if who.Tenant == "" && !p.Tenantless {
		return fault.New(fault.PermissionDenied, "the caller belongs to no tenant")
	}
	if who.Service != "" {
		if !slices.Contains(p.Callers, who.Issuer) {
			return fault.New(fault.PermissionDenied, "service %s may not call this method", who.Issuer)
		}
		return nil
	}
	if who.Issuer != ServiceGateway && !slices.Contains(p.Callers, who.Issuer) {
		return fault.New(fault.PermissionDenied, "service %s may not call this method", who.Issuer)
	}
	if !who.HasRole(p.Roles...) {
		return fault.New(fault.PermissionDenied, "this method needs one of the roles: %s", strings.Join(p.Roles, ", "))
	}
	return nil
}

// PolicyOptions configure a [PolicySource]. The zero value works.
type PolicyOptions struct {
	// Files and Types are where services and the option are looked up. Nil: what is linked in.
	Files *protoregistry.Files
	Types *protoregistry.Types
	// Fixed are the policies of methods whose contract is not ours, by full name, for example
	// "/grpc.health.v1.Health/Check".
	Fixed map[string]Policy
}

// PolicySource reads policies from the contracts. It may be used concurrently.
type PolicySource struct {
	files *protoregistry.Files
	types *protoregistry.Types
	fixed map[string]Policy

	// known maps full methods to their policies, nil where none is declared. Only methods that
	// exist are kept, so it is no larger than the contracts. A new one is added by replacing the
	// map under mu: readers, which are every call, need no lock.
	mu    sync.Mutex
	known atomic.Pointer[map[string]*Policy]
}

// NewPolicySource makes a source.
func NewPolicySource(o PolicyOptions) *PolicySource {
	s := &PolicySource{files: o.Files, types: o.Types, fixed: o.Fixed}
	if s.files == nil {
		s.files = protoregistry.GlobalFiles
	}
	if s.types == nil {
		s.types = protoregistry.GlobalTypes
	}
	s.known.Store(&map[string]*Policy{})
	return s
}

// Policy is the policy of the method "/package.Service/Method". A method that does not exist, or
// is spelt in another way, is Unimplemented; one that declares no policy, or one that is wrong in
// itself, is PermissionDenied. The result is shared and must not be changed.
func (s *PolicySource) Policy(full string) (Policy, error) {
	p, err := s.policy(full)
	if err != nil {
		return Policy{}, err
	}
	return *p, nil
}

func (s *PolicySource) policy(full string) (*Policy, error) {
	if p, ok := (*s.known.Load())[full]; ok {
		return p, undeclared(p)
	}
	md := s.find(full)
	if md == nil {
		return nil, fault.New(fault.Unimplemented, "unknown method")
	}
	var p *Policy
	if fixed, ok := s.fixed[full]; ok {
		p = &fixed
	} else {
		p = s.declared(md)
	}
	s.keep(strings.Clone(full), p)
	return p, undeclared(p)
}

func (s *PolicySource) keep(full string, p *Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.known.Load())
	next[full] = p
	s.known.Store(&next)
}

func undeclared(p *Policy) error {
	if p == nil {
		return fault.New(fault.PermissionDenied, "this method declares no policy")
	}
	return nil
}

// Undeclared lists the methods of the service, streams included, that nobody may call because
// they declare no valid policy. It is for a check at start and in tests.
func (s *PolicySource) Undeclared(service string) []string {
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(service))
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return []string{"/" + service + "/*"}
	}
	var out []string
	methods := sd.Methods()
	for i := range methods.Len() {
		full := "/" + service + "/" + string(methods.Get(i).Name())
		if _, err := s.policy(full); err != nil {
			out = append(out, full)
		}
	}
	return out
}

// find looks the method up by its exact name.
func (s *PolicySource) find(full string) protoreflect.MethodDescriptor {
	rest, ok := strings.CutPrefix(full, "/")
	service, name, cut := strings.Cut(rest, "/")
	if !ok || !cut {
		return nil
	}
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	return sd.Methods().ByName(protoreflect.Name(name))
}

// declared reads the option. The options are read again from their bytes with our own types,
// because what made the descriptor may not have known the extension or known it as another type.
func (s *PolicySource) declared(md protoreflect.MethodDescriptor) *Policy {
	xt, err := s.types.FindExtensionByName(PolicyExtension)
	if err != nil || !policyShape(xt.TypeDescriptor()) {
		return nil
	}
	raw, err := proto.Marshal(md.Options())
	if err != nil {
		return nil
	}
	options := &descriptorpb.MethodOptions{}
	if err := (proto.UnmarshalOptions{Resolver: s.types}).Unmarshal(raw, options); err != nil || !proto.HasExtension(options, xt) {
		return nil
	}
	m := options.ProtoReflect().Get(xt.TypeDescriptor()).Message()
	fields := m.Descriptor().Fields()
	p := &Policy{
		Roles:      texts(m.Get(fields.ByNumber(fieldRoles)).List()),
		Callers:    texts(m.Get(fields.ByNumber(fieldCallers)).List()),
		Public:     m.Get(fields.ByNumber(fieldPublic)).Bool(),
		Tenantless: m.Get(fields.ByNumber(fieldTenantless)).Bool(),
	}
	if !p.valid() {
		return nil
	}
	return p
}

// policyShape reports whether the extension is the message that this package reads.
func policyShape(x protoreflect.ExtensionDescriptor) bool {
	if x.Message() == nil || x.IsList() {
		return false
	}
	fields := x.Message().Fields()
	is := func(n protoreflect.FieldNumber, kind protoreflect.Kind, list bool) bool {
		f := fields.ByNumber(n)
		return f != nil && f.Kind() == kind && f.IsList() == list
	}
	return is(fieldRoles, protoreflect.StringKind, true) && is(fieldCallers, protoreflect.StringKind, true) &&
		is(fieldPublic, protoreflect.BoolKind, false) && is(fieldTenantless, protoreflect.BoolKind, false)
}

// valid refuses policies that cannot mean what they say: an unknown role or caller, nobody at all,
// or everybody and somebody.
func (p *Policy) valid() bool {
	for _, r := range p.Roles {
		switch r {
		case RoleViewer, RoleAnalyst, RoleAdmin, RoleOperator:
		default:
			return false
		}
	}
	for _, c := range p.Callers {
		if !validService(c) {
			return false
		}
	}
	someone := len(p.Roles)+len(p.Callers) > 0
	return someone != p.Public
}

func texts(l protoreflect.List) []string {
	var out []string
	for i := range l.Len() {
		out = append(out, l.Get(i).String())
	}
	return out
}
