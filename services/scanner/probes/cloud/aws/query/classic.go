package query

// ClassicELB is docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference: load balancers of the previous generation.
var ClassicELB = Service{
	id: "Elastic Load Balancing", agent: "elasticloadbalancing", prefix: "elasticloadbalancing", signing: "elasticloadbalancing", version: "2012-06-01", token: "Marker",
}

// The calls of ClassicELB, each in docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference as API_ and its name.
const (
	DescribeClassicBalancers     Operation[ClassicBalancers] = "DescribeLoadBalancers"
	DescribeLoadBalancerPolicies Operation[Policies]         = "DescribeLoadBalancerPolicies"
)

// ClassicBalancers is a page.
type ClassicBalancers struct {
	nextMarker

	LoadBalancerDescriptions []ClassicBalancer `xml:"LoadBalancerDescriptions>member"`
}

// ClassicBalancer is one.
type ClassicBalancer struct {
	LoadBalancerName     string            `xml:"LoadBalancerName"`
	DNSName              string            `xml:"DNSName"`
	Scheme               string            `xml:"Scheme"`
	CreatedTime          Time              `xml:"CreatedTime"`
	SecurityGroups       []string          `xml:"SecurityGroups>member"`
	ListenerDescriptions []ClassicListener `xml:"ListenerDescriptions>member"`
}

// ClassicListener is what it answers on one port, and the policies for that.
type ClassicListener struct {
	Listener    ClassicProtocol `xml:"Listener"`
	PolicyNames []string        `xml:"PolicyNames>member"`
}

// ClassicProtocol is what is spoken.
type ClassicProtocol struct {
	Protocol string `xml:"Protocol"`
}

// Policies is an answer.
type Policies struct {
	PolicyDescriptions []Policy `xml:"PolicyDescriptions>member"`
}

// Policy is one, with its switches.
type Policy struct {
	PolicyName                  string            `xml:"PolicyName"`
	PolicyTypeName              string            `xml:"PolicyTypeName"`
	PolicyAttributeDescriptions []PolicyAttribute `xml:"PolicyAttributeDescriptions>member"`
}

// PolicyAttribute is a switch.
type PolicyAttribute struct {
	AttributeName  string `xml:"AttributeName"`
	AttributeValue string `xml:"AttributeValue"`
}
