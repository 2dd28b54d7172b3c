package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// pageSize is how much of a list the commands ask for at a time.
const pageSize = 500

// family is a resource with its commands.
func family(use, short string, build func(add func(use, short string, args cobra.PositionalArgs, do call, flags ...func(*cobra.Command)))) *cobra.Command {
	var f clientFlags
	parent := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	f.add(parent)
	build(func(use, short string, args cobra.PositionalArgs, do call, flags ...func(*cobra.Command)) {
		c := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error { return f.run(c, args, do) }}
		for _, flag := range flags {
			flag(c)
		}
		parent.AddCommand(c)
	})
	return parent
}

func clientCommands() []*cobra.Command {
	return append(stopCommands(), []*cobra.Command{
		exclusionCommands(), doNotScanCommands(),
		tenantCommands(), keyCommands(), assetCommands(), planCommands(), assessmentCommands(), findingCommands(), riskCommands(),
		reportCommands(), importCommands(), queueCommands(), providerCommands(), checkCommands(),
	}...)
}

type adder = func(use, short string, args cobra.PositionalArgs, do call, flags ...func(*cobra.Command))

func stringFlag(into *string, name, value, help string) func(*cobra.Command) {
	return func(c *cobra.Command) { c.Flags().StringVar(into, name, value, help) }
}

func tenantCommands() *cobra.Command {
	return family("tenants", "Manage tenants (operators)", func(add adder) {
		columns := []column[*accessv1.Tenant]{
			{"tenant", (*accessv1.Tenant).GetName}, {"name", (*accessv1.Tenant).GetDisplayName},
			{"created", func(t *accessv1.Tenant) string { return when(t.GetCreateTime()) }},
			{"suspended", func(t *accessv1.Tenant) string { return fmt.Sprint(t.GetSuspended()) }},
		}
		add("list", "List tenants", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			tenants, err := all(func(token string) ([]*accessv1.Tenant, string, error) {
				res, err := accessv1.NewAccessServiceClient(conn).ListTenants(ctx, &accessv1.ListTenantsRequest{PageSize: pageSize, PageToken: token})
				return res.GetTenants(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, tenants, columns...)
		})
		var display string
		add("create ID", "Add a tenant", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			if display == "" {
				display = args[0]
			}
			t, err := accessv1.NewAccessServiceClient(conn).CreateTenant(ctx, &accessv1.CreateTenantRequest{TenantId: args[0], Tenant: &accessv1.Tenant{DisplayName: display}})
			if err != nil {
				return err
			}
			return p.message(t)
		}, stringFlag(&display, "display-name", "", "name for people (default the id)"))
		suspend := func(resume bool) call {
			return func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
				t, err := accessv1.NewAccessServiceClient(conn).SuspendTenant(ctx, &accessv1.SuspendTenantRequest{Name: named("tenants", args[0]), Resume: resume})
				if err != nil {
					return err
				}
				return p.message(t)
			}
		}
		add("suspend TENANT", "Stop a tenant's keys", cobra.ExactArgs(1), suspend(false))
		add("resume TENANT", "Undo a suspension", cobra.ExactArgs(1), suspend(true))
	})
}

func keyCommands() *cobra.Command {
	return family("keys", "Manage API keys", func(add adder) {
		var tenant string
		tenantFlag := stringFlag(&tenant, "tenant", "", "another tenant (operators)")
		tenantName := func() string {
			if tenant == "" {
				return ""
			}
			return named("tenants", tenant)
		}
		add("list", "List keys without their secrets", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			keys, err := all(func(token string) ([]*accessv1.Key, string, error) {
				res, err := accessv1.NewAccessServiceClient(conn).ListKeys(ctx, &accessv1.ListKeysRequest{Tenant: tenantName(), PageSize: pageSize, PageToken: token})
				return res.GetKeys(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, keys, column[*accessv1.Key]{"key", (*accessv1.Key).GetName}, column[*accessv1.Key]{"name", (*accessv1.Key).GetDisplayName},
				column[*accessv1.Key]{"roles", func(k *accessv1.Key) string { return rolesText(k.GetRoles()) }},
				column[*accessv1.Key]{"created", func(k *accessv1.Key) string { return when(k.GetCreateTime()) }},
				column[*accessv1.Key]{"expires", func(k *accessv1.Key) string { return when(k.GetExpireTime()) }},
				column[*accessv1.Key]{"revoked", func(k *accessv1.Key) string { return fmt.Sprint(k.GetRevoked()) }})
		}, tenantFlag)
		var roles []string
		var display string
		add("create", "Make a key; its secret is printed this once", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			req := &accessv1.CreateKeyRequest{Tenant: tenantName(), DisplayName: display}
			for _, r := range roles {
				role := accessv1.Role(accessv1.Role_value["ROLE_"+strings.ToUpper(r)])
				if role == 0 {
					return usage(fmt.Errorf("role %q is not known; use viewer, analyst, admin, operator", r))
				}
				req.Roles = append(req.Roles, role)
			}
			res, err := accessv1.NewAccessServiceClient(conn).CreateKey(ctx, req)
			if err != nil {
				return err
			}
			if p.json {
				return p.line(res)
			}
			_, err = fmt.Fprintln(p.w, res.GetSecret())
			return err
		}, tenantFlag, stringFlag(&display, "display-name", "", "what the key is for"), func(c *cobra.Command) {
			c.Flags().StringSliceVar(&roles, "roles", []string{"viewer"}, "viewer, analyst, admin, operator")
		})
		add("revoke KEY", "End a key", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			_, err := accessv1.NewAccessServiceClient(conn).RevokeKey(ctx, &accessv1.RevokeKeyRequest{Name: named("keys", args[0])})
			return err
		})
	})
}

func rolesText(roles []accessv1.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, enum(r, "ROLE_"))
	}
	return strings.Join(out, ",")
}

var assetColumns = []column[*modelv1.Asset]{
	{"asset", (*modelv1.Asset).GetName}, {"kind", func(a *modelv1.Asset) string { return enum(a.GetKind(), "ASSET_KIND_") }},
	{"value", (*modelv1.Asset).GetValue}, {"seed", func(a *modelv1.Asset) string { return fmt.Sprint(a.GetSeed()) }},
	{"ownership", func(a *modelv1.Asset) string { return enum(a.GetOwnership().GetState(), "STATE_") }},
	{"clearance", func(a *modelv1.Asset) string { return enum(a.GetOwnership().GetClearance(), "CLEARANCE_") }},
	{"last seen", func(a *modelv1.Asset) string { return when(a.GetLastSeen()) }},
}

func assetCommands() *cobra.Command {
	return family("assets", "Manage what is assessed", func(add adder) {
		var filter string
		add("list", "List assets", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			assets, err := all(func(token string) ([]*modelv1.Asset, string, error) {
				res, err := ingestv1.NewIngestServiceClient(conn).ListAssets(ctx, &ingestv1.ListAssetsRequest{PageSize: pageSize, PageToken: token, Filter: filter})
				return res.GetAssets(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, assets, assetColumns...)
		}, stringFlag(&filter, "filter", "", "such as `kind = HOST AND seed = true`"))
		add("add TARGET...", "Add seeds", cobra.MinimumNArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			res, err := ingestv1.NewIngestServiceClient(conn).BatchImportAssets(ctx, &ingestv1.BatchImportAssetsRequest{Targets: args})
			if err != nil {
				return err
			}
			if err := list(p, res.GetAssets(), assetColumns...); err != nil {
				return err
			}
			if len(res.GetProblems()) > 0 {
				return usage(errors.New(res.GetProblems()[0].GetProblem()))
			}
			return nil
		})
		var reason, level, end string
		add("attest ASSET", "State that an asset may be assessed (operators)", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			req := &ingestv1.AttestAssetRequest{Name: assetRef(args[0]), Reason: reason}
			var err error
			if req.Clearance, err = clearanceOf(level); err != nil {
				return err
			}
			if req.ExpireTime, err = until(end, time.Now()); err != nil {
				return err
			}
			a, err := ingestv1.NewIngestServiceClient(conn).AttestAsset(ctx, req)
			if err != nil {
				return err
			}
			return list(p, []*modelv1.Asset{a}, assetColumns...)
		}, func(c *cobra.Command) {
			c.Flags().StringVar(&reason, "reason", "", "why: contract, ownership (required)")
			_ = c.MarkFlagRequired("reason")
		}, stringFlag(&level, "clearance", "", "passive, light, standard or intrusive (default standard)"), stringFlag(&end, "until", "", "a date such as 2027-01-31 or days such as 90d (default 30d)"))
		var method, role string
		add("prove ASSET", "Get a challenge that proves control of an asset", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			m := proofMethods[method]
			if m == 0 {
				return usage(fmt.Errorf("method %q is not known; use dns, file or role", method))
			}
			proof, err := ingestv1.NewIngestServiceClient(conn).CreateProof(ctx, &ingestv1.CreateProofRequest{Asset: assetRef(args[0]), Method: m, Role: role})
			if err != nil {
				return err
			}
			return p.message(proof)
		}, stringFlag(&method, "method", "dns", "dns, file, or role for a cloud account"), stringFlag(&role, "role", "", "the role, such as an ARN (default RiskProfiler)"))
		consentCommands(add)
		add("verify PROOF|ASSET", "Check whether a challenge is answered, or all of an asset's", cobra.ExactArgs(1), verifyProofs)
		add("delete ASSET", "Forget an asset and what is known about it", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			_, err := ingestv1.NewIngestServiceClient(conn).DeleteAsset(ctx, &ingestv1.DeleteAssetRequest{Name: assetRef(args[0])})
			return err
		})
	})
}

func profileOf(text string) (modelv1.Profile, error) {
	p := modelv1.Profile(modelv1.Profile_value["PROFILE_"+strings.ToUpper(text)])
	if p == 0 {
		return 0, usage(fmt.Errorf("profile %q is not known; use passive, quick, standard or deep", text))
	}
	return p, nil
}

func planCommands() *cobra.Command {
	return family("plans", "Manage recurring assessments", func(add adder) {
		columns := []column[*schedulerv1.Plan]{
			{"plan", (*schedulerv1.Plan).GetName}, {"name", (*schedulerv1.Plan).GetDisplayName}, {"cron", (*schedulerv1.Plan).GetCron},
			{"zone", (*schedulerv1.Plan).GetTimeZone}, {"next run", func(p *schedulerv1.Plan) string { return when(p.GetNextRunTime()) }},
			{"seeds", func(p *schedulerv1.Plan) string { return strings.Join(p.GetSeeds(), ",") }},
			{"paused", func(p *schedulerv1.Plan) string { return fmt.Sprint(p.GetPaused()) }},
			{"problem", (*schedulerv1.Plan).GetLastProblem},
		}
		add("list", "List plans", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			plans, err := all(func(token string) ([]*schedulerv1.Plan, string, error) {
				res, err := schedulerv1.NewSchedulerServiceClient(conn).ListPlans(ctx, &schedulerv1.ListPlansRequest{PageSize: pageSize, PageToken: token})
				return res.GetPlans(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, plans, columns...)
		})
		var cron, zone, profile, display, ports string
		add("create TARGET...", "Add a plan", cobra.MinimumNArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			depth, err := profileOf(profile)
			if err != nil {
				return err
			}
			plan, err := schedulerv1.NewSchedulerServiceClient(conn).CreatePlan(ctx, &schedulerv1.CreatePlanRequest{Plan: &schedulerv1.Plan{
				DisplayName: display, Cron: cron, TimeZone: zone, Seeds: args, Profile: depth, Ports: ports,
			}})
			if err != nil {
				return err
			}
			return list(p, []*schedulerv1.Plan{plan}, columns...)
		}, func(c *cobra.Command) {
			c.Flags().StringVar(&cron, "cron", "", "when: minute hour day-of-month month day-of-week, such as \"0 3 * * *\" (required)")
			_ = c.MarkFlagRequired("cron")
		}, stringFlag(&zone, "time-zone", "UTC", "time zone of the cron expression, such as Europe/Berlin"), stringFlag(&profile, "profile", "standard", "passive, quick, standard or deep"),
			stringFlag(&display, "display-name", "", "name for people"), stringFlag(&ports, "ports", "", "ports to scan"))
		add("delete PLAN", "End a plan", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			_, err := schedulerv1.NewSchedulerServiceClient(conn).DeletePlan(ctx, &schedulerv1.DeletePlanRequest{Name: named("plans", args[0])})
			return err
		})
	})
}

var assessmentColumns = []column[*schedulerv1.Assessment]{
	{"assessment", (*schedulerv1.Assessment).GetName}, {"state", func(a *schedulerv1.Assessment) string { return enum(a.GetState(), "STATE_") }},
	{"jobs", func(a *schedulerv1.Assessment) string {
		return fmt.Sprintf("%d/%d", a.GetProgress().GetJobsDone(), a.GetProgress().GetJobsPlanned())
	}},
	{"created", func(a *schedulerv1.Assessment) string { return when(a.GetCreateTime()) }},
	{"seeds", func(a *schedulerv1.Assessment) string { return strings.Join(a.GetSeeds(), ",") }},
	{"report", (*schedulerv1.Assessment).GetReport},
}

func assessmentCommands() *cobra.Command {
	return family("assessments", "Start and follow assessments", func(add adder) {
		add("list", "List assessments, newest first", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := schedulerv1.NewSchedulerServiceClient(conn).ListAssessments(ctx, &schedulerv1.ListAssessmentsRequest{PageSize: 100})
			if err != nil {
				return err
			}
			return list(p, res.GetAssessments(), assessmentColumns...)
		})
		var profile, ports, requestID string
		var watch bool
		add("start TARGET...", "Start an assessment", cobra.MinimumNArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			depth, err := profileOf(profile)
			if err != nil {
				return err
			}
			client := schedulerv1.NewSchedulerServiceClient(conn)
			a, err := client.CreateAssessment(ctx, &schedulerv1.CreateAssessmentRequest{Targets: args, Profile: depth, Ports: ports, RequestId: requestID})
			if err != nil {
				return err
			}
			if watch {
				return watchAssessment(ctx, client, a.GetName(), p)
			}
			return list(p, []*schedulerv1.Assessment{a}, assessmentColumns...)
		}, stringFlag(&profile, "profile", "standard", "passive, quick, standard or deep"), stringFlag(&ports, "ports", "", "ports to scan"),
			stringFlag(&requestID, "request-id", "", "the same id within 24 hours is the same assessment"),
			func(c *cobra.Command) { c.Flags().BoolVar(&watch, "watch", false, "follow it until it has ended") })
		add("get ASSESSMENT", "Show an assessment", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			a, err := schedulerv1.NewSchedulerServiceClient(conn).GetAssessment(ctx, &schedulerv1.GetAssessmentRequest{Name: named("assessments", args[0])})
			if err != nil {
				return err
			}
			return list(p, []*schedulerv1.Assessment{a}, assessmentColumns...)
		})
		add("watch ASSESSMENT", "Follow an assessment until it has ended", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			return watchAssessment(ctx, schedulerv1.NewSchedulerServiceClient(conn), named("assessments", args[0]), p)
		})
		add("cancel ASSESSMENT", "End an assessment; what is known by then is kept", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			a, err := schedulerv1.NewSchedulerServiceClient(conn).CancelAssessment(ctx, &schedulerv1.CancelAssessmentRequest{Name: named("assessments", args[0])})
			if err != nil {
				return err
			}
			return list(p, []*schedulerv1.Assessment{a}, assessmentColumns...)
		})
	})
}

func watchAssessment(ctx context.Context, client schedulerv1.SchedulerServiceClient, name string, p printer) error {
	stream, err := client.WatchAssessment(ctx, &schedulerv1.WatchAssessmentRequest{Name: name})
	if err != nil {
		return err
	}
	show := newProgress(p.w)
	defer show.end()
	var last *schedulerv1.AssessmentEvent
	for {
		event, err := stream.Recv()
		if err != nil {
			if last != nil && last.GetCoverage() == nil {
				break
			}
			return err
		}
		if last = event; p.json {
			if err := p.line(event); err != nil {
				return err
			}
			continue
		}
		show.event(event)
	}
	if last.GetState() != schedulerv1.Assessment_STATE_SUCCEEDED {
		return &exitError{exitIncomplete, errors.New(last.GetMessage())}
	}
	return nil
}

func findingCommands() *cobra.Command {
	return family("findings", "List and triage findings", func(add adder) {
		columns := []column[*correlatorv1.Finding]{
			{"finding", (*correlatorv1.Finding).GetName}, {"severity", func(f *correlatorv1.Finding) string { return enum(f.GetSeverity(), "SEVERITY_") }},
			{"state", func(f *correlatorv1.Finding) string { return enum(f.GetState(), "STATE_") }}, {"check", (*correlatorv1.Finding).GetCheck},
			{"asset", (*correlatorv1.Finding).GetAssetValue}, {"location", (*correlatorv1.Finding).GetLocation}, {"summary", (*correlatorv1.Finding).GetSummary},
		}
		var filter, orderBy string
		add("list", "List findings, worst first", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			findings, err := all(func(token string) ([]*correlatorv1.Finding, string, error) {
				res, err := correlatorv1.NewCorrelatorServiceClient(conn).ListFindings(ctx, &correlatorv1.ListFindingsRequest{PageSize: pageSize, PageToken: token, Filter: filter, OrderBy: orderBy})
				return res.GetFindings(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, findings, columns...)
		}, stringFlag(&filter, "filter", "state = OPEN", "such as `severity >= HIGH AND state = OPEN`"), stringFlag(&orderBy, "order-by", "", "severity desc, last_seen desc"))
		add("get FINDING", "Show a finding with its evidence", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			f, err := correlatorv1.NewCorrelatorServiceClient(conn).GetFinding(ctx, &correlatorv1.GetFindingRequest{Name: named("findings", args[0])})
			if err != nil {
				return err
			}
			return p.message(f)
		})
		var reason string
		var days int
		reasonFlag := func(c *cobra.Command) {
			c.Flags().StringVar(&reason, "reason", "", "why (required)")
			_ = c.MarkFlagRequired("reason")
		}
		add("accept FINDING", "Live with a finding until a date", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			f, err := correlatorv1.NewCorrelatorServiceClient(conn).AcceptFinding(ctx, &correlatorv1.AcceptFindingRequest{
				Name: named("findings", args[0]), Reason: reason, ExpireTime: timestamppb.New(time.Now().AddDate(0, 0, days)),
			})
			if err != nil {
				return err
			}
			return list(p, []*correlatorv1.Finding{f}, columns...)
		}, reasonFlag, func(c *cobra.Command) { c.Flags().IntVar(&days, "days", 90, "for how many days, at most 365") })
		add("false-positive FINDING", "Mark a finding as not true", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			f, err := correlatorv1.NewCorrelatorServiceClient(conn).MarkFalsePositive(ctx, &correlatorv1.MarkFalsePositiveRequest{Name: named("findings", args[0]), Reason: reason})
			if err != nil {
				return err
			}
			return list(p, []*correlatorv1.Finding{f}, columns...)
		}, reasonFlag)
		add("reopen FINDING", "Take a decision back", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			f, err := correlatorv1.NewCorrelatorServiceClient(conn).ReopenFinding(ctx, &correlatorv1.ReopenFindingRequest{Name: named("findings", args[0])})
			if err != nil {
				return err
			}
			return list(p, []*correlatorv1.Finding{f}, columns...)
		})
	})
}

func riskCommands() *cobra.Command {
	return family("risks", "List risks, worst first", func(add adder) {
		var filter, orderBy string
		add("list", "List risks", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			risks, err := all(func(token string) ([]*correlatorv1.Risk, string, error) {
				res, err := correlatorv1.NewCorrelatorServiceClient(conn).ListRisks(ctx, &correlatorv1.ListRisksRequest{PageSize: pageSize, PageToken: token, Filter: filter, OrderBy: orderBy})
				return res.GetRisks(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, risks, column[*correlatorv1.Risk]{"risk", (*correlatorv1.Risk).GetName},
				column[*correlatorv1.Risk]{"score", func(r *correlatorv1.Risk) string { return fmt.Sprintf("%.0f", r.GetScore()) }},
				column[*correlatorv1.Risk]{"severity", func(r *correlatorv1.Risk) string { return enum(r.GetSeverity(), "SEVERITY_") }},
				column[*correlatorv1.Risk]{"state", func(r *correlatorv1.Risk) string { return enum(r.GetState(), "STATE_") }},
				column[*correlatorv1.Risk]{"title", (*correlatorv1.Risk).GetTitle},
				column[*correlatorv1.Risk]{"due", func(r *correlatorv1.Risk) string { return when(r.GetDueTime()) }})
		}, stringFlag(&filter, "filter", "state = OPEN", "such as `score >= 50 AND state = OPEN`"), stringFlag(&orderBy, "order-by", "", "score desc, due_time"))
		add("get RISK", "Show a risk with its findings and the terms of its score", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			r, err := correlatorv1.NewCorrelatorServiceClient(conn).GetRisk(ctx, &correlatorv1.GetRiskRequest{Name: named("risks", args[0])})
			if err != nil {
				return err
			}
			return p.message(r)
		})
	})
}

func reportCommands() *cobra.Command {
	return family("reports", "List and download reports", func(add adder) {
		add("list", "List reports, newest first", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := reporterv1.NewReporterServiceClient(conn).ListReports(ctx, &reporterv1.ListReportsRequest{PageSize: 100})
			if err != nil {
				return err
			}
			return list(p, res.GetReports(), column[*reporterv1.Report]{"report", (*reporterv1.Report).GetName},
				column[*reporterv1.Report]{"created", func(r *reporterv1.Report) string { return when(r.GetCreateTime()) }},
				column[*reporterv1.Report]{"open findings", func(r *reporterv1.Report) string { return fmt.Sprint(r.GetOpenFindings()) }},
				column[*reporterv1.Report]{"complete", func(r *reporterv1.Report) string { return fmt.Sprint(r.GetComplete()) }})
		})
		var format, file string
		add("download REPORT", "Download a report", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			f, ok := formats[format]
			if !ok || f == 0 {
				return usage(fmt.Errorf("format %q is not known; use json, csv, sarif or html", format))
			}
			out, err := openOutput("--output-file", file, p.w)
			if err != nil {
				return usage(err)
			}
			defer out.discard()
			raw, err := download(ctx, reporterv1.NewReporterServiceClient(conn), named("reports", args[0]), f)
			if err != nil {
				return err
			}
			if _, err := out.Write(raw); err != nil {
				return err
			}
			return out.commit()
		}, stringFlag(&format, "format", "html", "json, csv, sarif or html"), stringFlag(&file, "output-file", "", "write to this file instead of stdout"))
	})
}

func queueCommands() *cobra.Command {
	return family("queues", "Look at the queues (operators)", func(add adder) {
		number := func(get func(*operationsv1.Queue) uint64) func(*operationsv1.Queue) string {
			return func(q *operationsv1.Queue) string { return fmt.Sprint(get(q)) }
		}
		add("depth", "How deep every queue is", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			res, err := operationsv1.NewOperationsServiceClient(conn).ListQueues(ctx, &operationsv1.ListQueuesRequest{})
			if err != nil {
				return err
			}
			return list(p, res.GetQueues(), column[*operationsv1.Queue]{"queue", (*operationsv1.Queue).GetName},
				column[*operationsv1.Queue]{"visible", number((*operationsv1.Queue).GetVisible)}, column[*operationsv1.Queue]{"in flight", number((*operationsv1.Queue).GetInFlight)},
				column[*operationsv1.Queue]{"delayed", number((*operationsv1.Queue).GetDelayed)}, column[*operationsv1.Queue]{"parked", number((*operationsv1.Queue).GetParked)},
				column[*operationsv1.Queue]{"oldest", func(q *operationsv1.Queue) string { return when(q.GetOldestTime()) }})
		})
		add("parked QUEUE", "List messages that were given up", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			messages, err := all(func(token string) ([]*operationsv1.ParkedMessage, string, error) {
				res, err := operationsv1.NewOperationsServiceClient(conn).ListParkedMessages(ctx, &operationsv1.ListParkedMessagesRequest{Queue: named("queues", args[0]), PageSize: 100, PageToken: token})
				return res.GetMessages(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, messages, column[*operationsv1.ParkedMessage]{"id", (*operationsv1.ParkedMessage).GetId}, column[*operationsv1.ParkedMessage]{"group", (*operationsv1.ParkedMessage).GetGroup},
				column[*operationsv1.ParkedMessage]{"parked", func(m *operationsv1.ParkedMessage) string { return when(m.GetParkedTime()) }},
				column[*operationsv1.ParkedMessage]{"trace", (*operationsv1.ParkedMessage).GetTraceId}, column[*operationsv1.ParkedMessage]{"error", (*operationsv1.ParkedMessage).GetError})
		})
		add("redrive QUEUE [ID...]", "Put parked messages back (all if no id is named)", cobra.MinimumNArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			res, err := operationsv1.NewOperationsServiceClient(conn).RedriveMessages(ctx, &operationsv1.RedriveMessagesRequest{Queue: named("queues", args[0]), Ids: args[1:]})
			if err != nil {
				return err
			}
			return p.message(res)
		})
	})
}
