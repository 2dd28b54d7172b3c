package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/assetid"
	"github.com/riskprofiler/riskprofiler/platform/target"
)

// assetRef is the resource name of an asset that is named by it, by its id or by its value.
func assetRef(text string) string {
	if t, err := target.Parse(text); err == nil && !strings.HasPrefix(text, "assets/") && strings.ContainsAny(text, ".:") {
		return assetid.Name(int32(t.Kind), t.Value)
	}
	return named("assets", text)
}

var proofMethods = map[string]ingestv1.ProofMethod{
	"dns": ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT, "file": ingestv1.ProofMethod_PROOF_METHOD_HTTP_FILE, "role": ingestv1.ProofMethod_PROOF_METHOD_CLOUD_ROLE,
}

func clearanceOf(text string) (modelv1.Clearance, error) {
	if text == "" {
		return 0, nil
	}
	c := modelv1.Clearance(modelv1.Clearance_value["CLEARANCE_"+strings.ToUpper(text)])
	if c == 0 {
		return 0, usage(fmt.Errorf("clearance %q is not known; use passive, light, standard or intrusive", text))
	}
	return c, nil
}

// until reads a time from now as days, such as 90d, or a date.
func until(text string, now time.Time) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if d, err := time.ParseDuration(days + "h"); err == nil {
			return timestamppb.New(now.Add(24 * d)), nil
		}
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, usage(fmt.Errorf("--until %q is neither a date such as 2027-01-31 nor days such as 90d", text))
	}
	return timestamppb.New(t), nil
}

var proofColumns = []column[*ingestv1.Proof]{
	{"proof", (*ingestv1.Proof).GetName}, {"method", func(p *ingestv1.Proof) string { return enum(p.GetMethod(), "PROOF_METHOD_") }},
	{"where", (*ingestv1.Proof).GetLocation}, {"verified", func(p *ingestv1.Proof) string { return fmt.Sprint(p.GetVerified()) }},
	{"looked at", func(p *ingestv1.Proof) string { return when(p.GetVerifyTime()) }}, {"problem", (*ingestv1.Proof).GetProblem},
}

var authorizationColumns = []column[*ingestv1.Authorization]{
	{"when", func(a *ingestv1.Authorization) string { return when(a.GetCreateTime()) }}, {"what", (*ingestv1.Authorization).GetAssetValue},
	{"event", func(a *ingestv1.Authorization) string { return enum(a.GetEvent(), "EVENT_") }}, {"by", (*ingestv1.Authorization).GetMethod},
	{"clearance", func(a *ingestv1.Authorization) string { return enum(a.GetClearance(), "CLEARANCE_") }}, {"who", (*ingestv1.Authorization).GetSubject},
	{"until", func(a *ingestv1.Authorization) string { return when(a.GetExpireTime()) }}, {"reference", (*ingestv1.Authorization).GetReference},
}

// consentCommands are the commands of `assets` about who may do what.
func consentCommands(add adder) {
	add("proofs ASSET", "List the proofs of an asset", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
		res, err := ingestv1.NewIngestServiceClient(conn).ListProofs(ctx, &ingestv1.ListProofsRequest{Asset: assetRef(args[0])})
		if err != nil {
			return err
		}
		return list(p, res.GetProofs(), proofColumns...)
	})
	add("authorizations [ASSET]", "List who authorised what, newest first", cobra.MaximumNArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
		asset := ""
		if len(args) > 0 {
			asset = assetRef(args[0])
		}
		entries, err := all(func(token string) ([]*ingestv1.Authorization, string, error) {
			res, err := ingestv1.NewIngestServiceClient(conn).ListAuthorizations(ctx, &ingestv1.ListAuthorizationsRequest{Asset: asset, PageSize: pageSize, PageToken: token})
			return res.GetAuthorizations(), res.GetNextPageToken(), err
		})
		if err != nil {
			return err
		}
		return list(p, entries, authorizationColumns...)
	})
	var level, reference string
	add("grant ASSET", "Set how much may be done to a verified asset", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
		c, err := clearanceOf(level)
		if err != nil {
			return err
		}
		a, err := ingestv1.NewIngestServiceClient(conn).GrantClearance(ctx, &ingestv1.GrantClearanceRequest{Name: assetRef(args[0]), Clearance: c, Reference: reference})
		if err != nil {
			return err
		}
		return list(p, []*modelv1.Asset{a}, assetColumns...)
	}, required(&level, "clearance", "passive, light, standard or intrusive"), required(&reference, "reference", "by which right: contract, ticket"))
}

// verifyProofs looks at one proof, or at all of an asset. It ends with an error if none is there.
func verifyProofs(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
	client := ingestv1.NewIngestServiceClient(conn)
	names := []string{args[0]}
	if !strings.Contains(args[0], "/proofs/") {
		res, err := client.ListProofs(ctx, &ingestv1.ListProofsRequest{Asset: assetRef(args[0])})
		if err != nil {
			return err
		}
		if names = nil; len(res.GetProofs()) == 0 {
			return usage(fmt.Errorf("%s has no proof; get one with `riskprofiler assets prove %s`", args[0], args[0]))
		}
		for _, proof := range res.GetProofs() {
			names = append(names, proof.GetName())
		}
	}
	var proofs []*ingestv1.Proof
	for _, name := range names {
		proof, err := client.VerifyProof(ctx, &ingestv1.VerifyProofRequest{Name: name})
		if err != nil {
			return err
		}
		proofs = append(proofs, proof)
	}
	if err := list(p, proofs, proofColumns...); err != nil {
		return err
	}
	if !slices.ContainsFunc(proofs, (*ingestv1.Proof).GetVerified) {
		return &exitError{exitIncomplete, fmt.Errorf("not proven: %s", proofs[len(proofs)-1].GetProblem())}
	}
	return nil
}

func required(into *string, name, help string) func(*cobra.Command) {
	return func(c *cobra.Command) {
		c.Flags().StringVar(into, name, "", help+" (required)")
		_ = c.MarkFlagRequired(name)
	}
}

func exclusionCommands() *cobra.Command {
	return family("exclusions", "Manage what must not be touched", func(add adder) {
		columns := []column[*ingestv1.Exclusion]{
			{"exclusion", (*ingestv1.Exclusion).GetName}, {"value", (*ingestv1.Exclusion).GetValue}, {"reason", (*ingestv1.Exclusion).GetReason},
			{"by", (*ingestv1.Exclusion).GetCreatedBy}, {"created", func(e *ingestv1.Exclusion) string { return when(e.GetCreateTime()) }},
		}
		add("list", "List exclusions", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			found, err := allExclusions(ctx, conn)
			if err != nil {
				return err
			}
			return list(p, found, columns...)
		})
		var reason string
		add("add TARGET", "Exclude a name with all below it, an address or a range", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			e, err := ingestv1.NewIngestServiceClient(conn).CreateExclusion(ctx, &ingestv1.CreateExclusionRequest{Exclusion: &ingestv1.Exclusion{Value: args[0], Reason: reason}})
			if err != nil {
				return err
			}
			return list(p, []*ingestv1.Exclusion{e}, columns...)
		}, stringFlag(&reason, "reason", "", "why"))
		add("remove EXCLUSION", "Take an exclusion back, by its name or value", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			name := named("exclusions", args[0])
			found, err := allExclusions(ctx, conn)
			if err != nil {
				return err
			}
			for _, e := range found {
				if e.GetValue() == args[0] {
					name = e.GetName()
				}
			}
			_, err = ingestv1.NewIngestServiceClient(conn).DeleteExclusion(ctx, &ingestv1.DeleteExclusionRequest{Name: name})
			return err
		})
	})
}

func allExclusions(ctx context.Context, conn grpc.ClientConnInterface) ([]*ingestv1.Exclusion, error) {
	return all(func(token string) ([]*ingestv1.Exclusion, string, error) {
		res, err := ingestv1.NewIngestServiceClient(conn).ListExclusions(ctx, &ingestv1.ListExclusionsRequest{PageSize: pageSize, PageToken: token})
		return res.GetExclusions(), res.GetNextPageToken(), err
	})
}

func doNotScanCommands() *cobra.Command {
	return family("do-not-scan", "Manage what nobody may touch (operators)", func(add adder) {
		columns := []column[*ingestv1.DoNotScanEntry]{
			{"entry", (*ingestv1.DoNotScanEntry).GetName}, {"value", (*ingestv1.DoNotScanEntry).GetValue}, {"reason", (*ingestv1.DoNotScanEntry).GetReason},
			{"by", (*ingestv1.DoNotScanEntry).GetCreatedBy}, {"created", func(e *ingestv1.DoNotScanEntry) string { return when(e.GetCreateTime()) }},
		}
		add("list", "List entries made over the API", cobra.NoArgs, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			entries, err := all(func(token string) ([]*ingestv1.DoNotScanEntry, string, error) {
				res, err := ingestv1.NewIngestServiceClient(conn).ListDoNotScanEntries(ctx, &ingestv1.ListDoNotScanEntriesRequest{PageSize: pageSize, PageToken: token})
				return res.GetEntries(), res.GetNextPageToken(), err
			})
			if err != nil {
				return err
			}
			return list(p, entries, columns...)
		})
		var reason string
		add("add TARGET", "Forbid a name with all below it, an address or a range to all tenants", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			e, err := ingestv1.NewIngestServiceClient(conn).CreateDoNotScanEntry(ctx, &ingestv1.CreateDoNotScanEntryRequest{Entry: &ingestv1.DoNotScanEntry{Value: args[0], Reason: reason}})
			if err != nil {
				return err
			}
			return list(p, []*ingestv1.DoNotScanEntry{e}, columns...)
		}, stringFlag(&reason, "reason", "", "who asked, and why"))
		add("remove ENTRY", "Take an entry off the list", cobra.ExactArgs(1), func(ctx context.Context, conn grpc.ClientConnInterface, args []string, _ printer) error {
			_, err := ingestv1.NewIngestServiceClient(conn).DeleteDoNotScanEntry(ctx, &ingestv1.DeleteDoNotScanEntryRequest{Name: named("doNotScan", args[0])})
			return err
		})
	})
}

var stopColumns = []column[*ingestv1.Stop]{
	{"stop", (*ingestv1.Stop).GetName}, {"target", func(s *ingestv1.Stop) string { return stopTarget(s) }}, {"tenant", func(s *ingestv1.Stop) string {
		if s.GetAllTenants() {
			return "all"
		}
		return s.GetTenant()
	}}, {"since", func(s *ingestv1.Stop) string { return when(s.GetCreateTime()) }}, {"by", (*ingestv1.Stop).GetCreatedBy}, {"reason", (*ingestv1.Stop).GetReason},
}

func stopTarget(s *ingestv1.Stop) string {
	if s.GetTarget() == "" {
		return "everything"
	}
	return s.GetTarget()
}

// single is a command of its own that talks to the platform.
func single(c *cobra.Command, do call) *cobra.Command {
	var f clientFlags
	f.add(c)
	c.RunE = func(c *cobra.Command, args []string) error { return f.run(c, args, do) }
	return c
}

// stopFlags say what is stopped or resumed.
type stopFlags struct {
	all, allTenants bool
	tenant, reason  string
}

func (f *stopFlags) add(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.all, "all", false, "everything of the tenant")
	c.Flags().BoolVar(&f.allTenants, "all-tenants", false, "for all tenants (operators)")
	c.Flags().StringVar(&f.tenant, "tenant", "", "for another tenant (operators)")
	return c
}

// wish is what the flags and arguments say.
func (f *stopFlags) wish(args []string) (*ingestv1.Stop, error) {
	if f.all == (len(args) == 1) {
		return nil, usage(errors.New("name one target, or say --all for everything"))
	}
	s := &ingestv1.Stop{AllTenants: f.allTenants, Reason: f.reason}
	if f.tenant != "" {
		s.Tenant = named("tenants", f.tenant)
	}
	if len(args) == 1 {
		t, err := target.Parse(args[0])
		if err != nil {
			return nil, usage(err)
		}
		s.Target = t.Value
		if t.Port != 0 {
			s.Target = net.JoinHostPort(t.Value, fmt.Sprint(t.Port)) // the platform says what is wrong with it
		}
	}
	return s, nil
}

func stopCommands() []*cobra.Command {
	var stop, resume stopFlags
	stopper := stop.add(&cobra.Command{
		Use: "stop [TARGET]", Short: "Stop probing now: the kill switch",
		Long: "Ends all probing of a name (with all below it), an address, a range or a cloud account within 60 seconds, scans under way\n" +
			"included. It stays stopped until `riskprofiler resume`.",
		Example: "  riskprofiler stop shop.example.com --reason incident-7\n  riskprofiler stop --all",
		Args:    cobra.MaximumNArgs(1),
	})
	stopper.Flags().StringVar(&stop.reason, "reason", "", "why; whoever is stopped reads it")
	return []*cobra.Command{
		single(stopper, func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
			wish, err := stop.wish(args)
			if err != nil {
				return err
			}
			s, err := ingestv1.NewIngestServiceClient(conn).CreateStop(ctx, &ingestv1.CreateStopRequest{Stop: wish})
			if err != nil {
				return err
			}
			return list(p, []*ingestv1.Stop{s}, stopColumns...)
		}),
		single(resume.add(&cobra.Command{Use: "resume [TARGET]", Short: "Let probing go on after a stop", Args: cobra.MaximumNArgs(1)}), resumeCall(&resume)),
		single(&cobra.Command{Use: "stops", Short: "List what is stopped", Args: cobra.NoArgs}, func(ctx context.Context, conn grpc.ClientConnInterface, _ []string, p printer) error {
			stops, err := allStops(ctx, conn)
			if err != nil {
				return err
			}
			return list(p, stops, stopColumns...)
		}),
	}
}

func allStops(ctx context.Context, conn grpc.ClientConnInterface) ([]*ingestv1.Stop, error) {
	return all(func(token string) ([]*ingestv1.Stop, string, error) {
		res, err := ingestv1.NewIngestServiceClient(conn).ListStops(ctx, &ingestv1.ListStopsRequest{PageSize: pageSize, PageToken: token})
		return res.GetStops(), res.GetNextPageToken(), err
	})
}

// resumeCall ends the stops that were made with the same words.
func resumeCall(f *stopFlags) call {
	return func(ctx context.Context, conn grpc.ClientConnInterface, args []string, p printer) error {
		wish, err := f.wish(args)
		if err != nil {
			return err
		}
		stops, err := allStops(ctx, conn)
		if err != nil {
			return err
		}
		stops = slices.DeleteFunc(stops, func(s *ingestv1.Stop) bool {
			return s.GetTarget() != wish.GetTarget() || s.GetAllTenants() != wish.GetAllTenants() || s.GetTenant() != wish.GetTenant()
		})
		if len(stops) == 0 {
			return usage(fmt.Errorf("%s is not stopped; `riskprofiler stops` shows what is", stopTarget(wish)))
		}
		for _, s := range stops {
			if _, err := ingestv1.NewIngestServiceClient(conn).DeleteStop(ctx, &ingestv1.DeleteStopRequest{Name: s.GetName()}); err != nil {
				return err
			}
		}
		return list(p, stops, stopColumns...)
	}
}
