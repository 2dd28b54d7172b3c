package query

// EC2 is docs.aws.amazon.com/AWSEC2/latest/APIReference.
var EC2 = Service{id: "EC2", agent: "ec2", prefix: "ec2", signing: "ec2", version: "2016-11-15", token: "NextToken", dialect: ec2Query}

// The calls of EC2, each in docs.aws.amazon.com/AWSEC2/latest/APIReference as API_ and its name.
const (
	DescribeAddresses         Operation[Addresses]         = "DescribeAddresses"
	DescribeImages            Operation[Images]            = "DescribeImages"
	DescribeInstances         Operation[Reservations]      = "DescribeInstances"
	DescribeNetworkACLs       Operation[NetworkACLs]       = "DescribeNetworkAcls"
	DescribeNetworkInterfaces Operation[NetworkInterfaces] = "DescribeNetworkInterfaces"
	DescribeRegions           Operation[Regions]           = "DescribeRegions"
	DescribeSecurityGroups    Operation[SecurityGroups]    = "DescribeSecurityGroups"
	DescribeSnapshots         Operation[Snapshots]         = "DescribeSnapshots"
)

// Words of EC2, each from the page of the type that has it.
const (
	ActionAllow        = "allow"      // API_NetworkAclEntry, ruleAction
	ActionDeny         = "deny"       // API_NetworkAclEntry, ruleAction
	EndpointDisabled   = "disabled"   // API_InstanceMetadataOptionsResponse, httpEndpoint
	TokensRequired     = "required"   // API_InstanceMetadataOptionsResponse, httpTokens
	InterfaceOfGateway = "natGateway" // API_NetworkInterface, interfaceType
)

// Regions is an answer.
type Regions struct {
	Regions []Region `xml:"regionInfo>item"`
}

// Region is one that the account may use.
type Region struct {
	RegionName string `xml:"regionName"`
}

// Tag is a name that the account's people gave, and its value.
type Tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

// Addresses is an answer.
type Addresses struct {
	Addresses []Address `xml:"addressesSet>item"`
}

// Address is one that the account reserved.
type Address struct {
	PublicIP           string `xml:"publicIp"`
	AllocationID       string `xml:"allocationId"`
	AssociationID      string `xml:"associationId"`
	NetworkInterfaceID string `xml:"networkInterfaceId"`
	InstanceID         string `xml:"instanceId"`
	Tags               []Tag  `xml:"tagSet>item"`
}

// Images is a page.
type Images struct {
	ec2Token

	Images []Image `xml:"imagesSet>item"`
}

// Image is what machines are started from.
type Image struct {
	ImageID string `xml:"imageId"`
	Name    string `xml:"name"`
	Public  Bool   `xml:"isPublic"`
}

// Snapshots is a page.
type Snapshots struct {
	ec2Token

	Snapshots []Snapshot `xml:"snapshotSet>item"`
}

// Snapshot is a copy of a volume.
type Snapshot struct {
	SnapshotID string `xml:"snapshotId"`
	Encrypted  Bool   `xml:"encrypted"`
	Tags       []Tag  `xml:"tagSet>item"`
}
