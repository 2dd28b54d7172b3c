package query

// RDS is docs.aws.amazon.com/AmazonRDS/latest/APIReference.
var RDS = Service{id: "RDS", agent: "rds", prefix: "rds", signing: "rds", version: "2014-10-31", token: "Marker"}

// The calls of RDS, each in docs.aws.amazon.com/AmazonRDS/latest/APIReference as API_ and its name.
const (
	DescribeDBInstances                 Operation[DBInstances]                 = "DescribeDBInstances"
	DescribeDBSnapshots                 Operation[DBSnapshots]                 = "DescribeDBSnapshots"
	DescribeDBSnapshotAttributes        Operation[DBSnapshotAttributes]        = "DescribeDBSnapshotAttributes"
	DescribeDBClusterSnapshots          Operation[DBClusterSnapshots]          = "DescribeDBClusterSnapshots"
	DescribeDBClusterSnapshotAttributes Operation[DBClusterSnapshotAttributes] = "DescribeDBClusterSnapshotAttributes"
)

// DBInstances is a page.
type DBInstances struct {
	marker

	DBInstances []DBInstance `xml:"DBInstances>DBInstance"`
}

// DBInstance is a database.
type DBInstance struct {
	DBInstanceArn        string        `xml:"DBInstanceArn"`
	DBInstanceIdentifier string        `xml:"DBInstanceIdentifier"`
	InstanceCreateTime   Time          `xml:"InstanceCreateTime"`
	Engine               string        `xml:"Engine"`
	EngineVersion        string        `xml:"EngineVersion"`
	StorageEncrypted     Bool          `xml:"StorageEncrypted"`
	PubliclyAccessible   Bool          `xml:"PubliclyAccessible"`
	Endpoint             Endpoint      `xml:"Endpoint"`
	TagList              []DBTag       `xml:"TagList>Tag"`
	VpcSecurityGroups    []VpcSecurity `xml:"VpcSecurityGroups>VpcSecurityGroupMembership"`
}

// DBTag is a name that the account's people gave, and its value.
type DBTag struct {
	Key   string `xml:"Key"`
	Value string `xml:"Value"`
}

// Endpoint is where a database answers.
type Endpoint struct {
	Address string `xml:"Address"`
}

// VpcSecurity is a security group by its name.
type VpcSecurity struct {
	VpcSecurityGroupID string `xml:"VpcSecurityGroupId"`
}

// DBSnapshots is a page.
type DBSnapshots struct {
	marker

	DBSnapshots []DBSnapshot `xml:"DBSnapshots>DBSnapshot"`
}

// DBSnapshot is a copy of a database.
type DBSnapshot struct {
	DBSnapshotArn        string `xml:"DBSnapshotArn"`
	DBSnapshotIdentifier string `xml:"DBSnapshotIdentifier"`
	Engine               string `xml:"Engine"`
	Encrypted            Bool   `xml:"Encrypted"`
}

// DBSnapshotAttributes is an answer.
type DBSnapshotAttributes struct {
	DBSnapshotAttributesResult DBSnapshotAttributesResult `xml:"DBSnapshotAttributesResult"`
}

// DBSnapshotAttributesResult is its content.
type DBSnapshotAttributesResult struct {
	DBSnapshotAttributes []DBSnapshotAttribute `xml:"DBSnapshotAttributes>DBSnapshotAttribute"`
}

// DBSnapshotAttribute is whom a copy is for.
type DBSnapshotAttribute struct {
	AttributeValues []string `xml:"AttributeValues>AttributeValue"`
}

// DBClusterSnapshots is a page.
type DBClusterSnapshots struct {
	marker

	DBClusterSnapshots []DBClusterSnapshot `xml:"DBClusterSnapshots>DBClusterSnapshot"`
}

// DBClusterSnapshot is a copy of a cluster.
type DBClusterSnapshot struct {
	DBClusterSnapshotArn        string `xml:"DBClusterSnapshotArn"`
	DBClusterSnapshotIdentifier string `xml:"DBClusterSnapshotIdentifier"`
	Engine                      string `xml:"Engine"`
	StorageEncrypted            Bool   `xml:"StorageEncrypted"`
}

// DBClusterSnapshotAttributes is an answer.
type DBClusterSnapshotAttributes struct {
	DBClusterSnapshotAttributesResult DBClusterSnapshotAttributesResult `xml:"DBClusterSnapshotAttributesResult"`
}

// DBClusterSnapshotAttributesResult is its content.
type DBClusterSnapshotAttributesResult struct {
	DBClusterSnapshotAttributes []DBSnapshotAttribute `xml:"DBClusterSnapshotAttributes>DBClusterSnapshotAttribute"`
}
