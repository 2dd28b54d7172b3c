package query

// Redshift is docs.aws.amazon.com/redshift/latest/APIReference.
var Redshift = Service{id: "Redshift", agent: "redshift", prefix: "redshift", signing: "redshift", version: "2012-12-01", token: "Marker"}

// DescribeClusters is docs.aws.amazon.com/redshift/latest/APIReference/API_DescribeClusters.html.
const DescribeClusters Operation[Clusters] = "DescribeClusters"

// Clusters is a page.
type Clusters struct {
	marker

	Clusters []Cluster `xml:"Clusters>Cluster"`
}

// Cluster is a data warehouse.
type Cluster struct {
	ClusterIdentifier  string        `xml:"ClusterIdentifier"`
	ClusterCreateTime  Time          `xml:"ClusterCreateTime"`
	ClusterVersion     string        `xml:"ClusterVersion"`
	Encrypted          Bool          `xml:"Encrypted"`
	PubliclyAccessible Bool          `xml:"PubliclyAccessible"`
	Endpoint           Endpoint      `xml:"Endpoint"`
	VpcSecurityGroups  []VpcSecurity `xml:"VpcSecurityGroups>VpcSecurityGroup"`
}
