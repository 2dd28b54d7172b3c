package query

// Reservations is a page: machines as they were started together.
type Reservations struct {
	ec2Token

	Reservations []Reservation `xml:"reservationSet>item"`
}

// Reservation is what was started together.
type Reservation struct {
	Instances []Instance `xml:"instancesSet>item"`
}

// Instance is a machine.
type Instance struct {
	InstanceID      string            `xml:"instanceId"`
	PublicIPAddress string            `xml:"ipAddress"`
	IPv6Address     string            `xml:"ipv6Address"`
	PublicDNSName   string            `xml:"dnsName"`
	LaunchTime      Time              `xml:"launchTime"`
	State           InstanceState     `xml:"instanceState"`
	SecurityGroups  []GroupIdentifier `xml:"groupSet>item"`
	Tags            []Tag             `xml:"tagSet>item"`
	// IamInstanceProfile is nil where there is none, and MetadataOptions where nothing is said about them.
	IamInstanceProfile *IamInstanceProfile      `xml:"iamInstanceProfile"`
	MetadataOptions    *InstanceMetadataOptions `xml:"metadataOptions"`
}

// InstanceState is whether a machine runs.
type InstanceState struct {
	Name string `xml:"name"`
}

// IamInstanceProfile is what a machine may do.
type IamInstanceProfile struct {
	Arn string `xml:"arn"`
}

// InstanceMetadataOptions is how a machine asks for its own metadata.
type InstanceMetadataOptions struct {
	HTTPTokens   string `xml:"httpTokens"`
	HTTPEndpoint string `xml:"httpEndpoint"`
}
