package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// everybody is how RDS and EC2 write that a copy is for all accounts
// (docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBSnapshotAttribute.html).
const everybody = "all"

// readDatabases reads the instances of relational databases.
func readDatabases(ctx context.Context, r *regional) {
	pages(ctx, r.inventory, r.at("rds:DescribeDBInstances"), rds.NewDescribeDBInstancesPaginator(rdsDescribeDBInstances(rds.NewFromConfig(r.config).DescribeDBInstances), &rds.DescribeDBInstancesInput{}),
		func(out *rds.DescribeDBInstancesOutput) {
			for _, d := range out.DBInstances {
				r.database(d)
			}
		})
}

func (r *regional) database(d types.DBInstance) {
	f := r.fact(cloud.TypeDatabase, aws.ToString(d.DBInstanceArn), aws.ToString(d.DBInstanceIdentifier))
	f.Created = stamp(d.InstanceCreateTime)
	f.Settings[cloud.SettingEngine] = strings.TrimSpace(aws.ToString(d.Engine) + " " + aws.ToString(d.EngineVersion))
	f.Settings[cloud.SettingEncrypted] = yes(aws.ToBool(d.StorageEncrypted))
	f.Tags = map[string]string{}
	for _, t := range d.TagList {
		f.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if d.Endpoint != nil && aws.ToString(d.Endpoint.Address) != "" {
		f.Hostnames = []string{strings.ToLower(*d.Endpoint.Address)}
	}
	var groups []string
	for _, g := range d.VpcSecurityGroups {
		groups = append(groups, aws.ToString(g.VpcSecurityGroupId))
	}
	r.reachable(f, aws.ToBool(d.PubliclyAccessible), groups)
	r.add(cloud.Resource{Fact: f, Names: aws.ToBool(d.PubliclyAccessible)})
}

// readDatabaseCopies reads the snapshots that people made of instances and that are for everybody. Public ones of this account are among its
// own; those that the service made cannot be shared.
func readDatabaseCopies(ctx context.Context, r *regional) {
	client := rds.NewFromConfig(r.config)
	var all []types.DBSnapshot
	pages(ctx, r.inventory, r.at("rds:DescribeDBSnapshots"),
		rds.NewDescribeDBSnapshotsPaginator(rdsDescribeDBSnapshots(client.DescribeDBSnapshots), &rds.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual")}),
		func(out *rds.DescribeDBSnapshotsOutput) { all = append(all, out.DBSnapshots...) })
	each(all, func(d types.DBSnapshot) {
		out, ok := call(ctx, r.inventory, r.at("rds:DescribeDBSnapshotAttributes"), client.DescribeDBSnapshotAttributes,
			&rds.DescribeDBSnapshotAttributesInput{DBSnapshotIdentifier: d.DBSnapshotIdentifier}, "DBSnapshotNotFound")
		if !ok || out == nil || out.DBSnapshotAttributesResult == nil {
			return
		}
		public := slices.ContainsFunc(out.DBSnapshotAttributesResult.DBSnapshotAttributes, func(a types.DBSnapshotAttribute) bool {
			return slices.Contains(a.AttributeValues, everybody)
		})
		if public {
			r.copyForAll(cloud.TypeDatabaseCopy, aws.ToString(d.DBSnapshotArn), aws.ToString(d.DBSnapshotIdentifier), aws.ToString(d.Engine), aws.ToBool(d.Encrypted))
		}
	})
}

// readClusterCopies reads the same of clusters.
func readClusterCopies(ctx context.Context, r *regional) {
	client := rds.NewFromConfig(r.config)
	var all []types.DBClusterSnapshot
	pages(ctx, r.inventory, r.at("rds:DescribeDBClusterSnapshots"),
		rds.NewDescribeDBClusterSnapshotsPaginator(rdsDescribeDBClusterSnapshots(client.DescribeDBClusterSnapshots), &rds.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual")}),
		func(out *rds.DescribeDBClusterSnapshotsOutput) { all = append(all, out.DBClusterSnapshots...) })
	each(all, func(d types.DBClusterSnapshot) {
		out, ok := call(ctx, r.inventory, r.at("rds:DescribeDBClusterSnapshotAttributes"), client.DescribeDBClusterSnapshotAttributes,
			&rds.DescribeDBClusterSnapshotAttributesInput{DBClusterSnapshotIdentifier: d.DBClusterSnapshotIdentifier}, "DBClusterSnapshotNotFoundFault")
		if !ok || out == nil || out.DBClusterSnapshotAttributesResult == nil {
			return
		}
		public := slices.ContainsFunc(out.DBClusterSnapshotAttributesResult.DBClusterSnapshotAttributes, func(a types.DBClusterSnapshotAttribute) bool {
			return slices.Contains(a.AttributeValues, everybody)
		})
		if public {
			r.copyForAll(cloud.TypeClusterCopy, aws.ToString(d.DBClusterSnapshotArn), aws.ToString(d.DBClusterSnapshotIdentifier), aws.ToString(d.Engine), aws.ToBool(d.StorageEncrypted))
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
