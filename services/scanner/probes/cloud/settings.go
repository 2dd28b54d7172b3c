package cloud

// Where facts are filed. A fact is filed under its own asset (CLOUD_RESOURCE, value and id alike) at location "", and once more under
// every dedicated address (IP) and every name (HOST, DOMAIN) that leads to it, at the resource's id as location: there it stands beside
// what scans of that address or name saw. A check about the resource alone must hold in one place only:
// `observation.location == ""`, or it makes two findings of one decision. Exceptions: records of zones are filed under their names
// alone, and facts about an account (TypeAccount, TypeBucketAccount) under the account.

// Settings of CloudFact, which checks read by name. A setting that is absent could not be read or does not exist for the type: a check
// must not take absence for an answer (`"policy" in cloud.settings`). Yes-or-no settings are "true" or "false".
//
// The first table says which types of resource have which settings; [Yes] and [No] and the values below are all there is.
const (
	// SettingMinimumTLS is the oldest protocol that clients may speak, one of the TLS constants: elb:load-balancer, elb:classic-load-balancer,
	// cloudfront:distribution, apigateway:domain-name, opensearch:domain; Azure and Google: whatever ends TLS.
	SettingMinimumTLS = "minimum-tls"
	// SettingPostQuantum says whether a hybrid post-quantum key exchange (X25519MLKEM768) is offered: elb:load-balancer,
	// cloudfront:distribution, apigateway:domain-name.
	SettingPostQuantum = "post-quantum"
	// SettingPlainHTTP says whether content is served without TLS: a listener that does not redirect, a distribution that allows all.
	SettingPlainHTTP = "plain-http"
	// SettingWebACL is the name of the web application firewall's rules before it, or [None]: elb:load-balancer of type application,
	// cloudfront:distribution, apigateway:rest-api.
	SettingWebACL = "web-acl"
	// SettingAuthorizer is how callers are identified: [None] if anybody may call some route, else the kinds ("AWS_IAM", "JWT,CUSTOM"):
	// apigateway:rest-api, apigateway:http-api, lambda:function-url ("AWS_IAM" or [None]).
	SettingAuthorizer = "authorizer"
	// SettingOpenRoutes are the routes that need no authorizer, at most 20, separated by spaces: apigateway:rest-api, apigateway:http-api.
	SettingOpenRoutes = "open-routes"
	// SettingPolicy is what the resource's own policy says about anybody, one of the Policy constants: s3:bucket, sqs:queue, sns:topic,
	// secretsmanager:secret, lambda:function, ecr:repository, opensearch:domain, events:bus, apigateway:rest-api.
	SettingPolicy = "policy"
	// SettingPolicyActions are the actions that the policy permits to anybody, at most 20, separated by spaces.
	SettingPolicyActions = "policy-actions"
	// SettingPublicRead, SettingPublicList and SettingPublicWrite say what anybody may do by policy or access list, after the blocks
	// of bucket and account: s3:bucket; Azure containers, Google buckets.
	SettingPublicRead  = "public-read"
	SettingPublicList  = "public-list"
	SettingPublicWrite = "public-write"
	// SettingAccessBlock is how much of "block public access" is on, one of the Block constants: s3:account, s3:bucket.
	SettingAccessBlock = "access-block"
	// SettingWebsite says whether static website hosting is on: s3:bucket.
	SettingWebsite = "website"
	// SettingPubliclyAccessible says whether the provider gives it an address of the internet: rds:instance, redshift:cluster, mq:broker,
	// kafka:cluster, eks:cluster, opensearch:domain, lightsail:database.
	SettingPubliclyAccessible = "publicly-accessible"
	// SettingOpenToWorld says whether the network rules before it admit the whole internet at some port. With [SettingPubliclyAccessible]
	// it is reachable: rds:instance, redshift:cluster, ec2:instance, elb:*, ec2:network-interface, eks:cluster.
	SettingOpenToWorld = "open-to-world"
	// SettingEngine is the product: "postgres 16.3", "ActiveMQ 5.18": databases and brokers.
	SettingEngine = "engine"
	// SettingScheme is "internet-facing" or "internal": load balancers.
	SettingScheme = "scheme"
	// SettingTransferLock says whether the registrar refuses transfers: route53domains:domain.
	SettingTransferLock = "transfer-lock"
	// SettingAutoRenew says whether it is renewed by itself: route53domains:domain.
	SettingAutoRenew = "auto-renew"
	// SettingAttached says whether it is in use: ec2:elastic-ip; Azure and Google reserved addresses.
	SettingAttached = "attached"
	// SettingAttachedPublic says whether something with a public address is behind it: ec2:security-group.
	SettingAttachedPublic = "attached-public"
	// SettingInstanceProfile is the role that the machine has: ec2:instance; Azure managed identity, Google service account.
	SettingInstanceProfile = "instance-profile"
	// SettingMetadata is [MetadataV1] where anybody who makes the machine send a request can read its role's credentials: ec2:instance.
	SettingMetadata = "metadata"
	// SettingDangling is why what it points to is not the account's any more, or is about to be nobody's, one of the Dangling constants:
	// route53:record; records of Azure and Google.
	SettingDangling = "dangling"
	// SettingHeldBy is the account of the same owner that holds what it points to: records.
	SettingHeldBy = "held-by"
	// SettingGhostOrigin is the bucket behind a distribution that does not exist, so that anybody may make it: cloudfront:distribution.
	SettingGhostOrigin = "ghost-origin"
	// SettingAssignPublicIP says whether tasks get public addresses: ecs:service.
	SettingAssignPublicIP = "assign-public-ip"
	// SettingInUse says whether something uses it: acm:certificate.
	SettingInUse = "in-use"
	// SettingRenewal is the state of a certificate's renewal in the provider's words ("SUCCESS", "FAILED", "INELIGIBLE"): acm:certificate.
	SettingRenewal = "renewal"
	// SettingSharedWith is [Everybody] where a copy may be taken by anybody: ec2:image, ec2:snapshot, rds:snapshot, rds:cluster-snapshot.
	SettingSharedWith = "shared-with"
	// SettingEncrypted says whether it is encrypted at rest: ec2:snapshot, rds:snapshot, rds:instance.
	SettingEncrypted = "encrypted"
	// SettingState is what it does now, in the provider's words: ec2:instance ("running", "stopped"), lightsail:instance.
	SettingState = "state"
	// SettingKind is what kind of its type it is, in the provider's words: ec2:network-interface ("nat_gateway"), elb:load-balancer
	// ("application", "network", "gateway").
	SettingKind = "kind"
	// SettingDefault says whether the provider made it with the network: ec2:network-acl.
	SettingDefault = "default"
	// SettingAnonymous says whether it answers without credentials: kafka:cluster (unauthenticated clients), Azure and Google registries.
	SettingAnonymous = "anonymous"
)

// Settings of the account itself, [TypeAccount].
const (
	// SettingResources and SettingGaps count what was read and what could not be; the evidence of the fact lists the latter.
	SettingResources = "resources"
	SettingGaps      = "gaps"
)

// TypeAccount is the type of the fact about a whole account, of every provider.
const TypeAccount = "account"

// Values of settings.
const (
	Yes  = "true"
	No   = "false"
	None = "none"
	// Everybody is the value of [SettingSharedWith].
	Everybody = "everybody"
	// MetadataV1 and MetadataV2 are values of [SettingMetadata]: requests without a session token are answered, or are not
	// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html).
	MetadataV1 = "v1"
	MetadataV2 = "v2"
	// Values of [SettingPolicy]. A restricted policy names anybody under a condition that anybody cannot meet, or names others.
	PolicyPublic     = "public"
	PolicyRestricted = "restricted"
	PolicyNone       = "none"
	// Values of [SettingAccessBlock]: all four switches, some, none.
	BlockAll  = "all"
	BlockSome = "some"
	BlockNone = "none"
	// Values of [SettingMinimumTLS], which order as text.
	TLSSSL3 = "SSL3.0"
	TLS10   = "TLS1.0"
	TLS11   = "TLS1.1"
	TLS12   = "TLS1.2"
	TLS13   = "TLS1.3"
	// Values of [SettingDangling].
	// DanglingAddress: an address of the provider's ranges that the account does not hold.
	DanglingAddress = "address-not-held"
	// DanglingIdleAddress: an address that the account holds and that nothing uses: it goes to somebody else when it is given back.
	DanglingIdleAddress = "address-not-attached"
	// DanglingLoadBalancer, DanglingDistribution, DanglingEnvironment, DanglingBucket: a name of such a resource that the account has not.
	DanglingLoadBalancer = "load-balancer-not-held"
	DanglingDistribution = "distribution-not-held"
	DanglingEnvironment  = "environment-not-held"
	DanglingBucket       = "bucket-does-not-exist"
	// DanglingBucketElsewhere: the bucket exists and is not the account's.
	DanglingBucketElsewhere = "bucket-of-another-account"
)

// Types of resources of AWS, as CloudFact.type has them. Public says for each that anybody on the internet reaches it or may take it.
const (
	TypeInstance         = "ec2:instance"
	TypeElasticIP        = "ec2:elastic-ip"
	TypeInterface        = "ec2:network-interface"
	TypeSecurityGroup    = "ec2:security-group" // open to the world; ingress has the rules
	TypeNetworkACL       = "ec2:network-acl"    // every port of the internet admitted
	TypeImage            = "ec2:image"          // shared with everybody
	TypeSnapshot         = "ec2:snapshot"       // shared with everybody
	TypeLoadBalancer     = "elb:load-balancer"
	TypeClassicBalancer  = "elb:classic-load-balancer"
	TypeRecord           = "route53:record" // name in hostnames, values in points_to
	TypeZone             = "route53:hosted-zone"
	TypeRegistration     = "route53domains:domain" // expires is set
	TypeDistribution     = "cloudfront:distribution"
	TypeRestAPI          = "apigateway:rest-api"
	TypeHTTPAPI          = "apigateway:http-api"
	TypeAPIDomain        = "apigateway:domain-name"
	TypeBucketAccount    = "s3:account" // the account's own block of public access
	TypeBucket           = "s3:bucket"
	TypeDatabase         = "rds:instance"
	TypeDatabaseCopy     = "rds:snapshot"
	TypeClusterCopy      = "rds:cluster-snapshot"
	TypeFunctionURL      = "lambda:function-url"
	TypeFunction         = "lambda:function" // with a policy that names anybody
	TypeWarehouse        = "redshift:cluster"
	TypeSearch           = "opensearch:domain"
	TypeKubernetes       = "eks:cluster"
	TypeRegistry         = "ecr:repository"
	TypePublicRegistry   = "ecr-public:repository"
	TypeQueue            = "sqs:queue"
	TypeTopic            = "sns:topic"
	TypeSecret           = "secretsmanager:secret"
	TypeLightsail        = "lightsail:instance"
	TypeLightsailData    = "lightsail:database"
	TypeLightsailBalance = "lightsail:load-balancer"
	TypeBroker           = "mq:broker"
	TypeKafka            = "kafka:cluster"
	TypeService          = "ecs:service"
	TypeCertificate      = "acm:certificate" // expires is set
	TypeBus              = "events:event-bus"
)

// Types of resources of Azure and Google are in their packages, in the words of their own inventories.
