package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	"github.com/riskprofiler/riskprofiler/platform/authn"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/platform/resource"
	"github.com/riskprofiler/riskprofiler/platform/table"
	"github.com/riskprofiler/riskprofiler/platform/table/protoitem"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// CreateStop pulls the kill switch. It is stored and that is all: whoever probes asks for scope before a job and again while the
// job runs, so what is under way ends too. A tenant's own stop is the tenant's; one of an operator for others lies with all.
func (s *Service) CreateStop(ctx context.Context, req *ingestv1.CreateStopRequest) (*ingestv1.Stop, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	stop := proto.CloneOf(req.GetStop())
	stop.CreateTime, stop.CreatedBy = timestamppb.Now(), who.Subject
	if stop.GetTarget() != "" {
		t, err := target.Parse(stop.GetTarget())
		if err == nil && (t.Port != 0 || t.URL != "") {
			err = fault.New(fault.Invalid, "stop %s: a whole name, address, range or account is stopped, leave the port and path out", t.Value)
		}
		if err != nil {
			return nil, fault.WithField(err, "stop.target", err.Error())
		}
		stop.Target = t.Value
	}
	key, err := stopKey(tenant, who, stop)
	if err != nil {
		return nil, err
	}
	stop.Name = "stops/" + resource.ID(strings.ReplaceAll(key.Sort, prefixStop, ""))
	item, err := protoitem.New(key, stop)
	if err != nil {
		return nil, err
	}
	defer s.globalChanged()
	return stop, s.table.Write(ctx, table.Write{Item: item})
}

// stopKey decides where a stop lies, and who may make it.
func stopKey(tenant string, who authn.Principal, stop *ingestv1.Stop) (table.Key, error) {
	if !stop.GetAllTenants() && (stop.GetTenant() == "" || stop.GetTenant() == "tenants/"+tenant) {
		stop.Tenant = ""
		return table.Key{Partition: stopPartition(tenant), Sort: "t-" + sortableID(time.Now())}, nil
	}
	switch {
	case !who.HasRole(authn.RoleOperator):
		return table.Key{}, fault.New(fault.PermissionDenied, "only operators stop probing for other tenants; leave tenant and all_tenants out")
	case stop.GetAllTenants() && stop.GetTenant() != "":
		return table.Key{}, fault.WithField(fault.New(fault.Invalid, "name one tenant or all of them, not both"), "stop.tenant", "leave it out")
	}
	return table.Key{Partition: globalPartition, Sort: prefixStop + "g-" + sortableID(time.Now())}, nil
}

// concerns says whether a stop of an operator is about a tenant.
func concerns(stop *ingestv1.Stop, tenant string) bool {
	return stop.GetAllTenants() || stop.GetTenant() == "tenants/"+tenant
}

// ListStops lists what is stopped: the tenant's own, and those of operators that say so much to this caller.
func (s *Service) ListStops(ctx context.Context, req *ingestv1.ListStopsRequest) (*ingestv1.ListStopsResponse, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.table.Query(ctx, table.Query{Partition: stopPartition(tenant), Limit: resource.PageSize(req.GetPageSize()), PageToken: req.GetPageToken()})
	if err != nil {
		return nil, err
	}
	res := &ingestv1.ListStopsResponse{NextPageToken: page.NextPageToken}
	if res.Stops, err = decodeAll[ingestv1.Stop](page.Items); err != nil || req.GetPageToken() != "" {
		return res, err
	}
	global, err := loadAll[ingestv1.Stop](ctx, s, table.Query{Partition: globalPartition, Prefix: prefixStop}, maxGlobal)
	if err != nil {
		return nil, err
	}
	// Which of another's targets an operator stopped is not for everybody to know.
	global = slices.DeleteFunc(global, func(stop *ingestv1.Stop) bool {
		named := stop.GetAllTenants() && stop.GetTarget() != ""
		return !who.HasRole(authn.RoleOperator) && (named || !concerns(stop, tenant))
	})
	res.Stops = append(global, res.GetStops()...)
	return res, nil
}

// DeleteStop lets probing go on.
func (s *Service) DeleteStop(ctx context.Context, req *ingestv1.DeleteStopRequest) (*emptypb.Empty, error) {
	tenant, who, err := authn.Tenant(ctx)
	if err != nil {
		return nil, err
	}
	id := resource.ID(req.GetName())
	key := table.Key{Partition: stopPartition(tenant), Sort: id}
	if strings.HasPrefix(id, "g-") && who.HasRole(authn.RoleOperator) {
		key = table.Key{Partition: globalPartition, Sort: prefixStop + id}
	}
	return s.deleteNamed(ctx, key, req.GetName())
}

// deleteNamed removes an item that has to be there.
func (s *Service) deleteNamed(ctx context.Context, key table.Key, name string) (*emptypb.Empty, error) {
	if _, err := s.table.Get(ctx, key); err != nil {
		if errors.Is(err, fault.NotFound) {
			return nil, fault.New(fault.NotFound, "%s does not exist", name)
		}
		return nil, err
	}
	defer s.globalChanged()
	return &emptypb.Empty{}, s.table.Write(ctx, table.Write{Delete: true, If: table.Any, Item: table.Item{Key: key}})
}

// stopReason is the line that whoever was stopped reads. Who stopped it is an operator or the tenant's own people.
func stopReason(s *ingestv1.Stop) string {
	what := s.GetTarget()
	if what == "" {
		what = "everything"
	}
	text := "probing of " + what + " was stopped at " + s.GetCreateTime().AsTime().Format(time.RFC3339)
	if s.GetReason() != "" {
		text += ": " + s.GetReason()
	}
	return text
}
