package aws

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud/aws/query"
)

// everybody is how RDS and EC2 write that a copy is for all accounts
// (docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBSnapshotAttribute.html).
const everybody = "all"

// byPeople asks for the snapshots that people made (docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBSnapshots.html,
// SnapshotType).
var byPeople = url.Values{"SnapshotType": {"manual"}}

// readDatabases reads the instances of relational databases.
func readDatabases(ctx context.Context, r *regional) {
	client := query.New(r.config, query.RDS)
	list(ctx, r.inventory, r.at("rds:DescribeDBInstances"), query.List(client, query.DescribeDBInstances, nil), func(out *query.DBInstances) {
		for _, d := range out.DBInstances {
			r.database(d)
		}
	})
}

func (r *regional) database(d query.DBInstance) {
	f := r.fact(cloud.TypeDatabase, d.DBInstanceArn, d.DBInstanceIdentifier)
	f.Created = stamp(&d.InstanceCreateTime.Time)
	f.Settings[cloud.SettingEngine] = strings.TrimSpace(d.Engine + " " + d.EngineVersion)
	f.Settings[cloud.SettingEncrypted] = yes(bool(d.StorageEncrypted))
	f.Tags = map[string]string{}
	for _, t := range d.TagList {
		f.Tags[t.Key] = t.Value
	}
	if a := d.Endpoint.Address; a != "" {
		f.Hostnames = []string{strings.ToLower(a)}
	}
	var groups []string
	for _, g := range d.VpcSecurityGroups {
		groups = append(groups, g.VpcSecurityGroupID)
	}
	r.reachable(f, bool(d.PubliclyAccessible), groups)
	r.add(cloud.Resource{Fact: f, Names: bool(d.PubliclyAccessible)})
}

// readDatabaseCopies reads the snapshots that people made of instances and that are for everybody. Public ones of this account are among its
// own; those that the service made cannot be shared.
func readDatabaseCopies(ctx context.Context, r *regional) {
	client := query.New(r.config, query.RDS)
	var all []query.DBSnapshot
	list(ctx, r.inventory, r.at("rds:DescribeDBSnapshots"),
		query.List(client, query.DescribeDBSnapshots, byPeople), func(out *query.DBSnapshots) { all = append(all, out.DBSnapshots...) })
	each(all, func(d query.DBSnapshot) {
		out, ok := ask(ctx, r.inventory, r.at("rds:DescribeDBSnapshotAttributes"), client, query.DescribeDBSnapshotAttributes,
			url.Values{"DBSnapshotIdentifier": {d.DBSnapshotIdentifier}}, "DBSnapshotNotFound")
		if !ok || out == nil {
			return
		}
		public := slices.ContainsFunc(out.DBSnapshotAttributesResult.DBSnapshotAttributes, func(a query.DBSnapshotAttribute) bool {
			return slices.Contains(a.AttributeValues, everybody)
		})
		if public {
			r.copyForAll(cloud.TypeDatabaseCopy, d.DBSnapshotArn, d.DBSnapshotIdentifier, d.Engine, bool(d.Encrypted))
		}
	})
}

// readClusterCopies reads the same of clusters.
func readClusterCopies(ctx context.Context, r *regional) {
	client := query.New(r.config, query.RDS)
	var all []query.DBClusterSnapshot
	list(ctx, r.inventory, r.at("rds:DescribeDBClusterSnapshots"),
		query.List(client, query.DescribeDBClusterSnapshots, byPeople), func(out *query.DBClusterSnapshots) { all = append(all, out.DBClusterSnapshots...) })
	each(all, func(d query.DBClusterSnapshot) {
		out, ok := ask(ctx, r.inventory, r.at("rds:DescribeDBClusterSnapshotAttributes"), client, query.DescribeDBClusterSnapshotAttributes,
			url.Values{"DBClusterSnapshotIdentifier": {d.DBClusterSnapshotIdentifier}}, "DBClusterSnapshotNotFoundFault")
		if !ok || out == nil {
			return
		}
		public := slices.ContainsFunc(out.DBClusterSnapshotAttributesResult.DBClusterSnapshotAttributes, func(a query.DBSnapshotAttribute) bool {
			return slices.Contains(a.AttributeValues, everybody)
		})
		if public {
			r.copyForAll(cloud.TypeClusterCopy, d.DBClusterSnapshotArn, d.DBClusterSnapshotIdentifier, d.Engine, bool(d.StorageEncrypted))
		}
	})
}

// copyForAll files a copy that anybody with an account may take.
func (r *regional) copyForAll(kind, id, name, engine string, encrypted bool) {
	f := r.fact(kind, id, name)
	f.Settings[cloud.SettingSharedWith], f.Settings[cloud.SettingEncrypted] = cloud.Everybody, yes(encrypted)
	if engine != "" {
		f.Settings[cloud.SettingEngine] = engine
	}
	f.Public, f.PublicReason = true, "it is shared with all accounts"
	r.add(cloud.Resource{Fact: f})
}
