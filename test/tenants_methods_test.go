package test

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	accessv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/access/v1"
	correlatorv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/correlator/v1"
	ingestv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/ingest/v1"
	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	operationsv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/operations/v1"
	reporterv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/reporter/v1"
	scannerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scanner/v1"
	schedulerv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/scheduler/v1"
)

// objects are names of one object of each kind, either of another tenant or of nobody.
type objects struct {
	tenant, key, host, asset, proof, exclusion, plan, assessment, job, finding, risk, report, queue, imported, stop, entry, provider, check string
}

// method is how a method is asked for the objects of another, and what the answer has to be.
type method struct {
	request func(o objects) proto.Message
	want    codes.Code
	// creates: makes an object of the caller's own, which later methods would find.
	creates bool
}

// The answers that there are, but for targets that are not the caller's.
const (
	// internal: for services, or for operators.
	internal = codes.PermissionDenied
	// hidden: as if it did not exist.
	hidden = codes.NotFound
	// empty: nothing of another's, and the same for all.
	empty = codes.OK
)

func job(o objects) *modelv1.ScanJob {
	return &modelv1.ScanJob{
		Id: o.job, Assessment: o.assessment, ScanType: modelv1.ScanType_SCAN_TYPE_DNS,
		Target: &modelv1.Target{Kind: modelv1.AssetKind_ASSET_KIND_HOST, Value: o.host, Host: o.host},
	}
}

// ownCheck is a check of a tenant's own by its name.
func ownCheck(name string) *correlatorv1.Check {
	fact := func(name string) []*correlatorv1.CheckExample {
		return []*correlatorv1.CheckExample{{Fact: &structpb.Struct{Fields: map[string]*structpb.Value{"name": structpb.NewStringValue(name)}}}}
	}
	return &correlatorv1.Check{
		Name: name, Id: strings.TrimPrefix(name, "checks/"), Title: "Telnet is not ours", Severity: modelv1.Severity_SEVERITY_HIGH, Fact: "service",
		Condition: "service.name == 'telnet'", Summary: "'Telnet at ' + observation.location", Description: "House rule 7.", Remediation: "Turn it off.",
		Holds: fact("telnet"), NotHolds: fact("ssh"),
	}
}

// methods are all methods of the platform.
var methods = map[string]method{
	"access.v1.AccessService/WhoAmI": {want: empty, request: func(objects) proto.Message { return &accessv1.WhoAmIRequest{} }},
	"access.v1.AccessService/CreateTenant": {want: internal, request: func(o objects) proto.Message {
		return &accessv1.CreateTenantRequest{TenantId: id(o.tenant), Tenant: &accessv1.Tenant{DisplayName: "x"}}
	}},
	"access.v1.AccessService/GetTenant":     {want: hidden, request: func(o objects) proto.Message { return &accessv1.GetTenantRequest{Name: o.tenant} }},
	"access.v1.AccessService/ListTenants":   {want: internal, request: func(objects) proto.Message { return &accessv1.ListTenantsRequest{} }},
	"access.v1.AccessService/SuspendTenant": {want: internal, request: func(o objects) proto.Message { return &accessv1.SuspendTenantRequest{Name: o.tenant} }},
	"access.v1.AccessService/CreateKey": {want: hidden, request: func(o objects) proto.Message {
		return &accessv1.CreateKeyRequest{Tenant: o.tenant, Roles: []accessv1.Role{accessv1.Role_ROLE_VIEWER}}
	}},
	"access.v1.AccessService/ListKeys":  {want: hidden, request: func(o objects) proto.Message { return &accessv1.ListKeysRequest{Tenant: o.tenant} }},
	"access.v1.AccessService/RevokeKey": {want: hidden, request: func(o objects) proto.Message { return &accessv1.RevokeKeyRequest{Name: o.key} }},
	"access.v1.AccessService/CreateProviderKey": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &accessv1.CreateProviderKeyRequest{Provider: o.provider, Key: "0123456789"}
	}},
	"access.v1.AccessService/UpdateProviderKey": {want: hidden, request: func(o objects) proto.Message {
		return &accessv1.UpdateProviderKeyRequest{Name: "providerKeys/" + o.provider, Key: "0123456789"}
	}},
	"access.v1.AccessService/ListProviderKeys": {want: empty, request: func(objects) proto.Message { return &accessv1.ListProviderKeysRequest{} }},
	"access.v1.AccessService/DeleteProviderKey": {want: hidden, request: func(o objects) proto.Message {
		return &accessv1.DeleteProviderKeyRequest{Name: "providerKeys/" + o.provider}
	}},

	"operations.v1.OperationsService/ListQueues":         {want: internal, request: func(objects) proto.Message { return &operationsv1.ListQueuesRequest{} }},
	"operations.v1.OperationsService/ListParkedMessages": {want: internal, request: func(o objects) proto.Message { return &operationsv1.ListParkedMessagesRequest{Queue: o.queue} }},
	"operations.v1.OperationsService/RedriveMessages":    {want: internal, request: func(o objects) proto.Message { return &operationsv1.RedriveMessagesRequest{Queue: o.queue} }},

	"ingest.v1.IngestService/CreateAsset": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &ingestv1.CreateAssetRequest{Asset: &modelv1.Asset{Value: o.host}}
	}},
	"ingest.v1.IngestService/GetAsset":   {want: hidden, request: func(o objects) proto.Message { return &ingestv1.GetAssetRequest{Name: o.asset} }},
	"ingest.v1.IngestService/ListAssets": {want: empty, request: func(o objects) proto.Message { return &ingestv1.ListAssetsRequest{} }},
	"ingest.v1.IngestService/UpdateAsset": {want: hidden, request: func(o objects) proto.Message {
		return &ingestv1.UpdateAssetRequest{Asset: &modelv1.Asset{Name: o.asset, Value: o.host, Criticality: 5}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"criticality"}}}
	}},
	"ingest.v1.IngestService/DeleteAsset": {want: hidden, request: func(o objects) proto.Message { return &ingestv1.DeleteAssetRequest{Name: o.asset} }},
	"ingest.v1.IngestService/BatchImportAssets": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &ingestv1.BatchImportAssetsRequest{Targets: []string{"import." + o.host}}
	}},
	"ingest.v1.IngestService/CreateImport": {want: hidden, request: func(o objects) proto.Message {
		return &ingestv1.CreateImportRequest{Import: &ingestv1.Import{Asset: o.asset}}
	}},
	"ingest.v1.IngestService/UploadImportPart": {want: hidden, request: func(o objects) proto.Message {
		return &ingestv1.UploadImportPartRequest{Name: o.imported, Content: []byte("x")}
	}},
	"ingest.v1.IngestService/StartImport":        {want: hidden, request: func(o objects) proto.Message { return &ingestv1.StartImportRequest{Name: o.imported, Parts: 1} }},
	"ingest.v1.IngestService/GetImport":          {want: hidden, request: func(o objects) proto.Message { return &ingestv1.GetImportRequest{Name: o.imported} }},
	"ingest.v1.IngestService/ListImports":        {want: empty, request: func(o objects) proto.Message { return &ingestv1.ListImportsRequest{} }},
	"ingest.v1.IngestService/ListImportProblems": {want: hidden, request: func(o objects) proto.Message { return &ingestv1.ListImportProblemsRequest{Import: o.imported} }},
	"ingest.v1.IngestService/CreateProof": {want: hidden, request: func(o objects) proto.Message {
		return &ingestv1.CreateProofRequest{Asset: o.asset, Method: ingestv1.ProofMethod_PROOF_METHOD_DNS_TXT}
	}},
	"ingest.v1.IngestService/VerifyProof": {want: hidden, request: func(o objects) proto.Message { return &ingestv1.VerifyProofRequest{Name: o.proof} }},
	"ingest.v1.IngestService/ListProofs":  {want: hidden, request: func(o objects) proto.Message { return &ingestv1.ListProofsRequest{Asset: o.asset} }},
	"ingest.v1.IngestService/AttestAsset": {want: internal, request: func(o objects) proto.Message { return &ingestv1.AttestAssetRequest{Name: o.asset, Reason: "x"} }},
	"ingest.v1.IngestService/GrantClearance": {want: hidden, request: func(o objects) proto.Message {
		return &ingestv1.GrantClearanceRequest{Name: o.asset, Clearance: modelv1.Clearance_CLEARANCE_INTRUSIVE, Reference: "x"}
	}},
	"ingest.v1.IngestService/ListAuthorizations": {want: empty, request: func(o objects) proto.Message { return &ingestv1.ListAuthorizationsRequest{Asset: o.asset} }},
	"ingest.v1.IngestService/CreateStop": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &ingestv1.CreateStopRequest{Stop: &ingestv1.Stop{Target: "stopped." + o.host}}
	}},
	"ingest.v1.IngestService/ListStops":  {want: empty, request: func(objects) proto.Message { return &ingestv1.ListStopsRequest{} }},
	"ingest.v1.IngestService/DeleteStop": {want: hidden, request: func(o objects) proto.Message { return &ingestv1.DeleteStopRequest{Name: o.stop} }},
	"ingest.v1.IngestService/CreateDoNotScanEntry": {want: internal, request: func(o objects) proto.Message {
		return &ingestv1.CreateDoNotScanEntryRequest{Entry: &ingestv1.DoNotScanEntry{Value: o.host}}
	}},
	"ingest.v1.IngestService/ListDoNotScanEntries": {want: internal, request: func(objects) proto.Message { return &ingestv1.ListDoNotScanEntriesRequest{} }},
	"ingest.v1.IngestService/DeleteDoNotScanEntry": {want: internal, request: func(o objects) proto.Message { return &ingestv1.DeleteDoNotScanEntryRequest{Name: o.entry} }},
	"ingest.v1.IngestService/CheckScope": {want: empty, request: func(o objects) proto.Message {
		return &ingestv1.CheckScopeRequest{Targets: []*modelv1.Target{job(o).GetTarget()}}
	}},
	"ingest.v1.IngestService/SyncIntel": {want: internal, request: func(objects) proto.Message {
		return &ingestv1.SyncIntelRequest{CompileOnly: true}
	}},
	"ingest.v1.IngestService/ImportIntel":    {want: internal, request: func(objects) proto.Message { return &ingestv1.ImportIntelRequest{Feed: "cve"} }},
	"ingest.v1.IngestService/GetIntelStatus": {want: empty, request: func(objects) proto.Message { return &ingestv1.GetIntelStatusRequest{} }},
	"ingest.v1.IngestService/CreateExclusion": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &ingestv1.CreateExclusionRequest{Exclusion: &ingestv1.Exclusion{Value: o.host}}
	}},
	"ingest.v1.IngestService/ListExclusions":   {want: empty, request: func(objects) proto.Message { return &ingestv1.ListExclusionsRequest{} }},
	"ingest.v1.IngestService/DeleteExclusion":  {want: hidden, request: func(o objects) proto.Message { return &ingestv1.DeleteExclusionRequest{Name: o.exclusion} }},
	"ingest.v1.IngestService/ListObservations": {want: hidden, request: func(o objects) proto.Message { return &ingestv1.ListObservationsRequest{Asset: o.asset} }},
	"ingest.v1.IngestService/ListCoverage":     {want: empty, request: func(o objects) proto.Message { return &ingestv1.ListCoverageRequest{Assessment: o.assessment} }},
	"ingest.v1.IngestService/SubmitResult": {want: internal, request: func(o objects) proto.Message {
		return &ingestv1.SubmitResultRequest{Result: &modelv1.ScanCompleted{Job: job(o)}}
	}},
	"ingest.v1.IngestService/GetJobRecords": {want: internal, request: func(o objects) proto.Message {
		return &ingestv1.GetJobRecordsRequest{Assessment: o.assessment, Jobs: []string{o.job}}
	}},
	"ingest.v1.IngestService/GetAssetState":        {want: internal, request: func(o objects) proto.Message { return &ingestv1.GetAssetStateRequest{Name: o.asset} }},
	"ingest.v1.IngestService/FindHolders":          {want: internal, request: func(objects) proto.Message { return &ingestv1.FindHoldersRequest{Places: []string{"192.0.2.1"}} }},
	"ingest.v1.IngestService/ListAssessmentAssets": {want: internal, request: func(o objects) proto.Message { return &ingestv1.ListAssessmentAssetsRequest{Assessment: o.assessment} }},

	"scheduler.v1.SchedulerService/CreatePlan": {want: codes.FailedPrecondition, request: func(o objects) proto.Message {
		return &schedulerv1.CreatePlanRequest{Plan: &schedulerv1.Plan{Cron: "0 3 * * *", Seeds: []string{o.host}}}
	}},
	"scheduler.v1.SchedulerService/GetPlan":   {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.GetPlanRequest{Name: o.plan} }},
	"scheduler.v1.SchedulerService/ListPlans": {want: empty, request: func(objects) proto.Message { return &schedulerv1.ListPlansRequest{} }},
	"scheduler.v1.SchedulerService/UpdatePlan": {want: hidden, request: func(o objects) proto.Message {
		return &schedulerv1.UpdatePlanRequest{
			Plan:       &schedulerv1.Plan{Name: o.plan, Cron: "0 3 * * *", Seeds: []string{o.host}, Paused: true},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"paused"}},
		}
	}},
	"scheduler.v1.SchedulerService/DeletePlan": {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.DeletePlanRequest{Name: o.plan} }},
	"scheduler.v1.SchedulerService/CreateAssessment": {want: codes.FailedPrecondition, request: func(o objects) proto.Message {
		return &schedulerv1.CreateAssessmentRequest{Targets: []string{o.host}, RequestId: "tenants"}
	}},
	"scheduler.v1.SchedulerService/GetAssessment":        {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.GetAssessmentRequest{Name: o.assessment} }},
	"scheduler.v1.SchedulerService/ListAssessments":      {want: empty, request: func(objects) proto.Message { return &schedulerv1.ListAssessmentsRequest{} }},
	"scheduler.v1.SchedulerService/WatchAssessment":      {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.WatchAssessmentRequest{Name: o.assessment} }},
	"scheduler.v1.SchedulerService/ListAssessmentEvents": {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.ListAssessmentEventsRequest{Name: o.assessment} }},
	"scheduler.v1.SchedulerService/CancelAssessment":     {want: hidden, request: func(o objects) proto.Message { return &schedulerv1.CancelAssessmentRequest{Name: o.assessment} }},
	"scheduler.v1.SchedulerService/NextWave":             {want: internal, request: func(o objects) proto.Message { return &schedulerv1.NextWaveRequest{Assessment: o.assessment} }},
	"scheduler.v1.SchedulerService/RecordJobFailure":     {want: internal, request: func(o objects) proto.Message { return &schedulerv1.RecordJobFailureRequest{Job: job(o)} }},
	"scheduler.v1.SchedulerService/FinishAssessment":     {want: internal, request: func(o objects) proto.Message { return &schedulerv1.FinishAssessmentRequest{Assessment: o.assessment} }},
	"scheduler.v1.SchedulerService/Tick":                 {want: internal, request: func(objects) proto.Message { return &schedulerv1.TickRequest{} }},

	"scanner.v1.ScannerService/ListQuotas":    {want: empty, request: func(objects) proto.Message { return &scannerv1.ListQuotasRequest{} }},
	"scanner.v1.ScannerService/ListScanTypes": {want: empty, request: func(objects) proto.Message { return &scannerv1.ListScanTypesRequest{} }},
	"scanner.v1.ScannerService/ProveCloudRole": {want: internal, request: func(objects) proto.Message {
		return &scannerv1.ProveCloudRoleRequest{Account: "aws:123456789012", Access: &modelv1.CloudAccess{Role: "r", ExternalId: "e"}}
	}},
	"scanner.v1.ScannerService/Scan": {want: codes.FailedPrecondition, request: func(o objects) proto.Message {
		return &scannerv1.ScanRequest{ScanType: modelv1.ScanType_SCAN_TYPE_DNS, Target: o.host}
	}},

	"correlator.v1.CorrelatorService/ListFindings": {want: empty, request: func(objects) proto.Message { return &correlatorv1.ListFindingsRequest{} }},
	"correlator.v1.CorrelatorService/GetFinding":   {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.GetFindingRequest{Name: o.finding} }},
	"correlator.v1.CorrelatorService/ListRisks":    {want: empty, request: func(objects) proto.Message { return &correlatorv1.ListRisksRequest{} }},
	"correlator.v1.CorrelatorService/GetRisk":      {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.GetRiskRequest{Name: o.risk} }},
	"correlator.v1.CorrelatorService/AcceptFinding": {want: hidden, request: func(o objects) proto.Message {
		return &correlatorv1.AcceptFindingRequest{Name: o.finding, Reason: "x"}
	}},
	"correlator.v1.CorrelatorService/MarkFalsePositive": {want: hidden, request: func(o objects) proto.Message {
		return &correlatorv1.MarkFalsePositiveRequest{Name: o.finding, Reason: "x"}
	}},
	"correlator.v1.CorrelatorService/ReopenFinding": {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.ReopenFindingRequest{Name: o.finding} }},
	"correlator.v1.CorrelatorService/Reevaluate":    {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.ReevaluateRequest{Assets: []string{o.asset}} }},
	"correlator.v1.CorrelatorService/GetCheck":      {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.GetCheckRequest{Name: o.check} }},
	"correlator.v1.CorrelatorService/CreateCheck": {want: empty, creates: true, request: func(o objects) proto.Message {
		return &correlatorv1.CreateCheckRequest{Check: ownCheck(o.check)}
	}},
	"correlator.v1.CorrelatorService/UpdateCheck": {want: hidden, request: func(o objects) proto.Message {
		return &correlatorv1.UpdateCheckRequest{Check: ownCheck(o.check)}
	}},
	"correlator.v1.CorrelatorService/DeleteCheck":      {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.DeleteCheckRequest{Name: o.check} }},
	"correlator.v1.CorrelatorService/TestCheck":        {want: empty, request: func(o objects) proto.Message { return &correlatorv1.TestCheckRequest{Check: ownCheck(o.check)} }},
	"correlator.v1.CorrelatorService/DisableCheck":     {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.DisableCheckRequest{Name: o.check} }},
	"correlator.v1.CorrelatorService/EnableCheck":      {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.EnableCheckRequest{Name: o.check} }},
	"correlator.v1.CorrelatorService/ListChecks":       {want: empty, request: func(objects) proto.Message { return &correlatorv1.ListChecksRequest{} }},
	"correlator.v1.CorrelatorService/GetAssetFindings": {want: hidden, request: func(o objects) proto.Message { return &correlatorv1.GetAssetFindingsRequest{Asset: o.asset} }},
	"correlator.v1.CorrelatorService/EvaluateAssessment": {want: internal, request: func(o objects) proto.Message {
		return &correlatorv1.EvaluateAssessmentRequest{Assessment: o.assessment}
	}},

	"reporter.v1.ReporterService/CreateReport":   {want: hidden, request: func(o objects) proto.Message { return &reporterv1.CreateReportRequest{Assessment: o.assessment} }},
	"reporter.v1.ReporterService/GetReport":      {want: hidden, request: func(o objects) proto.Message { return &reporterv1.GetReportRequest{Name: o.report} }},
	"reporter.v1.ReporterService/ListReports":    {want: empty, request: func(objects) proto.Message { return &reporterv1.ListReportsRequest{} }},
	"reporter.v1.ReporterService/DownloadReport": {want: hidden, request: func(o objects) proto.Message { return &reporterv1.DownloadReportRequest{Name: o.report} }},
	"reporter.v1.ReporterService/Notify":         {want: internal, request: func(o objects) proto.Message { return &reporterv1.NotifyRequest{Assessment: o.assessment} }},
}
