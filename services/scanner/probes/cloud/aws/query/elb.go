package query

// ELB is docs.aws.amazon.com/elasticloadbalancing/latest/APIReference: load balancers of types application, network and gateway.
var ELB = Service{
	id: "Elastic Load Balancing v2", agent: "elasticloadbalancingv2", prefix: "elasticloadbalancing", signing: "elasticloadbalancing", version: "2015-12-01", token: "Marker",
}

// The calls of ELB, each in docs.aws.amazon.com/elasticloadbalancing/latest/APIReference as API_ and its name.
const (
	DescribeLoadBalancers Operation[LoadBalancers] = "DescribeLoadBalancers"
	DescribeListeners     Operation[Listeners]     = "DescribeListeners"
)

// Words of ELB, each from the page of the type that has it.
const (
	InternetFacing      = "internet-facing" // API_LoadBalancer, Scheme; the previous generation has it as well
	TypeApplication     = "application"     // API_LoadBalancer, Type
	ProtocolHTTP        = "HTTP"            // API_Listener, Protocol, and API_RedirectActionConfig
	ProtocolHTTPS       = "HTTPS"           // API_Listener, Protocol, and API_RedirectActionConfig
	ProtocolTLS         = "TLS"             // API_Listener, Protocol
	ActionRedirect      = "redirect"        // API_Action, Type
	ActionFixedResponse = "fixed-response"  // API_Action, Type
)

// LoadBalancers is a page.
type LoadBalancers struct {
	nextMarker

	LoadBalancers []LoadBalancer `xml:"LoadBalancers>member"`
}

// LoadBalancer is one.
type LoadBalancer struct {
	LoadBalancerArn  string   `xml:"LoadBalancerArn"`
	LoadBalancerName string   `xml:"LoadBalancerName"`
	DNSName          string   `xml:"DNSName"`
	Scheme           string   `xml:"Scheme"`
	Type             string   `xml:"Type"`
	CreatedTime      Time     `xml:"CreatedTime"`
	SecurityGroups   []string `xml:"SecurityGroups>member"`
}

// Listeners is a page.
type Listeners struct {
	nextMarker

	Listeners []Listener `xml:"Listeners>member"`
}

// Listener is what a load balancer answers on one port.
type Listener struct {
	Protocol       string   `xml:"Protocol"`
	SslPolicy      string   `xml:"SslPolicy"`
	DefaultActions []Action `xml:"DefaultActions>member"`
}

// Action is what it does with a request.
type Action struct {
	Type           string               `xml:"Type"`
	RedirectConfig RedirectActionConfig `xml:"RedirectConfig"`
}

// RedirectActionConfig is where it sends one.
type RedirectActionConfig struct {
	Protocol string `xml:"Protocol"`
}
