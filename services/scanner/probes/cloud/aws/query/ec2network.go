package query

// NetworkACLs is a page.
type NetworkACLs struct {
	ec2Token

	NetworkACLs []NetworkACL `xml:"networkAclSet>item"`
}

// NetworkACL is what a subnet admits.
type NetworkACL struct {
	NetworkACLID string                  `xml:"networkAclId"`
	IsDefault    Bool                    `xml:"default"`
	Associations []NetworkACLAssociation `xml:"associationSet>item"`
	Entries      []NetworkACLEntry       `xml:"entrySet>item"`
	Tags         []Tag                   `xml:"tagSet>item"`
}

// NetworkACLAssociation is the subnet that a list is for.
type NetworkACLAssociation struct {
	SubnetID string `xml:"subnetId"`
}

// NetworkACLEntry is a rule.
type NetworkACLEntry struct {
	RuleNumber    Int    `xml:"ruleNumber"`
	RuleAction    string `xml:"ruleAction"`
	Egress        Bool   `xml:"egress"`
	Protocol      string `xml:"protocol"`
	CidrBlock     string `xml:"cidrBlock"`
	IPv6CidrBlock string `xml:"ipv6CidrBlock"`
	// PortRange is nil where the protocol has no ports, or all are meant.
	PortRange *PortRange `xml:"portRange"`
}

// PortRange is nil at an end that is not said.
type PortRange struct {
	From *Int `xml:"from"`
	To   *Int `xml:"to"`
}

// SecurityGroups is a page.
type SecurityGroups struct {
	ec2Token

	SecurityGroups []SecurityGroup `xml:"securityGroupInfo>item"`
}

// SecurityGroup is what an interface admits.
type SecurityGroup struct {
	GroupID       string         `xml:"groupId"`
	GroupName     string         `xml:"groupName"`
	Description   string         `xml:"groupDescription"`
	VPCID         string         `xml:"vpcId"`
	IPPermissions []IPPermission `xml:"ipPermissions>item"`
	Tags          []Tag          `xml:"tagSet>item"`
}

// IPPermission is a rule. A port that is not said is nil.
type IPPermission struct {
	IPProtocol string      `xml:"ipProtocol"`
	FromPort   *Int        `xml:"fromPort"`
	ToPort     *Int        `xml:"toPort"`
	IPRanges   []IPRange   `xml:"ipRanges>item"`
	IPv6Ranges []IPv6Range `xml:"ipv6Ranges>item"`
}

// IPRange is a source.
type IPRange struct {
	CidrIP string `xml:"cidrIp"`
}

// IPv6Range is a source.
type IPv6Range struct {
	CidrIPv6 string `xml:"cidrIpv6"`
}

// NetworkInterfaces is a page.
type NetworkInterfaces struct {
	ec2Token

	NetworkInterfaces []NetworkInterface `xml:"networkInterfaceSet>item"`
}

// NetworkInterface is where a machine or a service meets a network.
type NetworkInterface struct {
	NetworkInterfaceID string                             `xml:"networkInterfaceId"`
	InterfaceType      string                             `xml:"interfaceType"`
	Description        string                             `xml:"description"`
	RequesterID        string                             `xml:"requesterId"`
	SubnetID           string                             `xml:"subnetId"`
	Attachment         NetworkInterfaceAttachment         `xml:"attachment"`
	Association        NetworkInterfaceAssociation        `xml:"association"`
	Groups             []GroupIdentifier                  `xml:"groupSet>item"`
	PrivateIPAddresses []NetworkInterfacePrivateIPAddress `xml:"privateIpAddressesSet>item"`
	IPv6Addresses      []NetworkInterfaceIPv6Address      `xml:"ipv6AddressesSet>item"`
}

// NetworkInterfaceAttachment is the machine that has an interface.
type NetworkInterfaceAttachment struct {
	InstanceID string `xml:"instanceId"`
}

// NetworkInterfaceAssociation is the address by which the internet knows one.
type NetworkInterfaceAssociation struct {
	PublicIP string `xml:"publicIp"`
}

// NetworkInterfacePrivateIPAddress is an address within the network.
type NetworkInterfacePrivateIPAddress struct {
	Association NetworkInterfaceAssociation `xml:"association"`
}

// NetworkInterfaceIPv6Address is an address of the internet.
type NetworkInterfaceIPv6Address struct {
	IPv6Address string `xml:"ipv6Address"`
}

// GroupIdentifier is a security group by its name.
type GroupIdentifier struct {
	GroupID string `xml:"groupId"`
}
