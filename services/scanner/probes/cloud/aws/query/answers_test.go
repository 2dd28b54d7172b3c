package query_test

// answers are those that the documents of AWS show (the pages API_ and the operation's name), with what their types have besides, by
// service and operation.
var answers = map[string]string{
	"ec2 DescribeRegions": `<?xml version="1.0" encoding="UTF-8"?>
<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
   <regionInfo>
      <item><regionName>us-east-1</regionName><regionEndpoint>ec2.us-east-1.amazonaws.com</regionEndpoint><optInStatus>opt-in-not-required</optInStatus></item>
      <item><regionName>eu-west-1</regionName><regionEndpoint>ec2.eu-west-1.amazonaws.com</regionEndpoint></item>
   </regionInfo>
</DescribeRegionsResponse>`,
	"ec2 DescribeAddresses": `<DescribeAddressesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>f7de5e98-491a-4c19-a92d-908d6EXAMPLE</requestId>
   <addressesSet>
      <item>
         <publicIp>203.0.113.41</publicIp><allocationId>eipalloc-08229861</allocationId><domain>vpc</domain><instanceId>i-0598c7d356eba48d7</instanceId>
         <associationId>eipassoc-f0229899</associationId><networkInterfaceId>eni-ef229886</networkInterfaceId><networkInterfaceOwnerId>053230519467</networkInterfaceOwnerId>
         <privateIpAddress>10.0.0.228</privateIpAddress><tagSet><item><key>Name</key><value>mail &amp; web</value></item><item><key>empty</key><value/></item></tagSet>
      </item>
      <item><publicIp>198.51.100.2</publicIp><domain>standard</domain><instanceId/></item>
   </addressesSet>
</DescribeAddressesResponse>`,
	"ec2 DescribeImages": `<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>
   <imagesSet>
      <item>
         <imageId>ami-1a2b3c4d</imageId><imageLocation>amazon/getting-started</imageLocation><imageState>available</imageState><imageOwnerId>123456789012</imageOwnerId>
         <isPublic>true</isPublic><productCodes><item><productCode>x</productCode></item></productCodes><name>getting-started</name><description>Image Description</description>
         <blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs><snapshotId>snap-1</snapshotId><encrypted>true</encrypted></ebs></item></blockDeviceMapping>
      </item>
      <item><imageId>ami-2</imageId><isPublic>false</isPublic></item>
      <item><imageId>ami-3</imageId><!-- nothing is said --></item>
   </imagesSet>
   <nextToken>eyJ2IjoiMiJ9+/=</nextToken>
</DescribeImagesResponse>`,
	"ec2 DescribeSnapshots": `<DescribeSnapshotsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <snapshotSet>
      <item>
         <snapshotId>snap-1234567890abcdef0</snapshotId><volumeId>vol-1</volumeId><status>completed</status><startTime>2014-07-29T18:07:13.000Z</startTime><progress>100%</progress>
         <ownerId>123456789012</ownerId><volumeSize>8</volumeSize><tagSet><item><key>Name</key><value>demo_db_14_backup</value></item></tagSet><encrypted>true</encrypted>
      </item>
      <item><snapshotId>snap-2</snapshotId><encrypted>0</encrypted><tagSet/></item>
   </snapshotSet>
   <nextToken></nextToken>
</DescribeSnapshotsResponse>`,
	"ec2 DescribeNetworkAcls": `<DescribeNetworkAclsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <networkAclSet>
      <item>
         <networkAclId>acl-5566953c</networkAclId><vpcId>vpc-5266953b</vpcId><default>true</default>
         <entrySet>
            <item><ruleNumber>100</ruleNumber><protocol>-1</protocol><ruleAction>allow</ruleAction><egress>true</egress><cidrBlock>0.0.0.0/0</cidrBlock></item>
            <item><ruleNumber>110</ruleNumber><protocol>6</protocol><ruleAction>allow</ruleAction><egress>false</egress><ipv6CidrBlock>::/0</ipv6CidrBlock><portRange><from>49152</from><to>65535</to></portRange></item>
            <item><ruleNumber>120</ruleNumber><protocol>1</protocol><icmpTypeCode><code>-1</code><type>8</type></icmpTypeCode><portRange/></item>
            <item><ruleNumber>32767</ruleNumber><protocol>-1</protocol><ruleAction>deny</ruleAction><portRange><to>7</to></portRange></item>
         </entrySet>
         <associationSet><item><networkAclAssociationId>aclassoc-5c659635</networkAclAssociationId><networkAclId>acl-5566953c</networkAclId><subnetId>subnet-ff669596</subnetId></item></associationSet>
         <tagSet><item><key>Name</key><value>n</value></item></tagSet>
      </item>
   </networkAclSet>
</DescribeNetworkAclsResponse>`,
	"ec2 DescribeInstances": `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <requestId>8f7724cf-496f-496e-8fe3-example</requestId>
   <reservationSet>
      <item>
         <reservationId>r-1234567890abcdef0</reservationId><ownerId>123456789012</ownerId><groupSet><item><groupId>sg-outer</groupId></item></groupSet>
         <instancesSet>
            <item>
               <instanceId>i-1234567890abcdef0</instanceId><imageId>ami-bff32ccc</imageId><instanceState><code>16</code><name>running</name></instanceState>
               <privateDnsName>ip-192-168-1-88.eu-west-1.compute.internal</privateDnsName><dnsName>ec2-54-194-252-215.eu-west-1.compute.amazonaws.com</dnsName><reason/>
               <launchTime>2018-05-08T16:46:19.000Z</launchTime><placement><availabilityZone>eu-west-1c</availabilityZone></placement><ipAddress>54.194.252.215</ipAddress>
               <groupSet><item><groupId>sg-e4076980</groupId><groupName>SecurityGroup1</groupName></item><item><groupId>sg-2</groupId></item></groupSet>
               <iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/AdminRole</arn><id>ABCAJEDNCAA64SSD123AB</id></iamInstanceProfile>
               <tagSet><item><key>Name</key><value>Server_1</value></item></tagSet>
               <networkInterfaceSet><item><networkInterfaceId>eni-551ba033</networkInterfaceId><groupSet><item><groupId>sg-inner</groupId></item></groupSet><tagSet><item><key>x</key></item></tagSet></item></networkInterfaceSet>
               <metadataOptions><state>applied</state><httpTokens>optional</httpTokens><httpPutResponseHopLimit>1</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions>
               <ipv6Address>2001:db8::1</ipv6Address>
            </item>
            <item><instanceId>i-2</instanceId><iamInstanceProfile/><metadataOptions/><launchTime>2018-05-08T16:46:19</launchTime></item>
         </instancesSet>
      </item>
      <item><instancesSet><item><instanceId>i-3</instanceId></item></instancesSet></item>
      <item/>
   </reservationSet>
</DescribeInstancesResponse>`,
	"ec2 DescribeSecurityGroups": `<DescribeSecurityGroupsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <securityGroupInfo>
      <item>
         <ownerId>123456789012</ownerId><groupId>sg-1a2b3c4d</groupId><groupName>WebServers</groupName><groupDescription>Web &lt;servers&gt;</groupDescription><vpcId>vpc-614cc409</vpcId>
         <ipPermissions>
            <item><ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>80</toPort><groups/><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp><description>all</description></item><item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item>
            <item><ipProtocol>-1</ipProtocol><groups><item><groupId>sg-9</groupId></item></groups><ipv6Ranges><item><cidrIpv6>::/0</cidrIpv6></item></ipv6Ranges><prefixListIds/></item>
            <item><ipProtocol>icmp</ipProtocol><fromPort>-1</fromPort><toPort>-1</toPort></item>
         </ipPermissions>
         <ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress>
         <tagSet/>
      </item>
   </securityGroupInfo>
   <nextToken>t</nextToken>
</DescribeSecurityGroupsResponse>`,
	"ec2 DescribeNetworkInterfaces": `<DescribeNetworkInterfacesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
   <networkInterfaceSet>
      <item>
         <networkInterfaceId>eni-0f62d866</networkInterfaceId><subnetId>subnet-c53c87ac</subnetId><vpcId>vpc-cc3c87a5</vpcId><description>ELB app/shop</description><ownerId>053230519467</ownerId>
         <requesterId>amazon-elb</requesterId><requesterManaged>true</requesterManaged><status>in-use</status><interfaceType>interface</interfaceType>
         <groupSet><item><groupId>sg-3f5ff7a1</groupId><groupName>default</groupName></item></groupSet>
         <attachment><attachmentId>eni-attach-6537fc0c</attachmentId><instanceId>i-22197876</instanceId><attachTime>2012-07-01T21:45:27.000Z</attachTime></attachment>
         <association><publicIp>203.0.113.12</publicIp><ipOwnerId>053230519467</ipOwnerId></association>
         <privateIpAddressesSet>
            <item><privateIpAddress>10.0.0.146</privateIpAddress><primary>true</primary><association><publicIp>203.0.113.12</publicIp></association></item>
            <item><privateIpAddress>10.0.0.147</privateIpAddress><primary>false</primary></item>
         </privateIpAddressesSet>
         <ipv6AddressesSet><item><ipv6Address>2001:db8::2</ipv6Address></item></ipv6AddressesSet>
      </item>
      <item><networkInterfaceId>eni-2</networkInterfaceId><attachment/><association/></item>
   </networkInterfaceSet>
</DescribeNetworkInterfacesResponse>`,
	"rds DescribeDBInstances": `<DescribeDBInstancesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBInstancesResult>
    <DBInstances>
      <DBInstance>
        <DBInstanceIdentifier>customers</DBInstanceIdentifier><DBInstanceArn>arn:aws:rds:eu-west-1:123456789012:db:customers</DBInstanceArn><Engine>postgres</Engine><EngineVersion>16.4</EngineVersion>
        <Endpoint><Address>customers.abc.eu-west-1.rds.amazonaws.com</Address><Port>5432</Port></Endpoint><InstanceCreateTime>2024-01-02T03:04:05.678Z</InstanceCreateTime>
        <StorageEncrypted>true</StorageEncrypted><PubliclyAccessible>true</PubliclyAccessible><DBSubnetGroup><Subnets><Subnet><SubnetIdentifier>s</SubnetIdentifier></Subnet></Subnets></DBSubnetGroup>
        <VpcSecurityGroups><VpcSecurityGroupMembership><Status>active</Status><VpcSecurityGroupId>sg-1</VpcSecurityGroupId></VpcSecurityGroupMembership></VpcSecurityGroups>
        <TagList><Tag><Key>team</Key><Value>crm</Value></Tag></TagList>
      </DBInstance>
      <DBInstance><DBInstanceIdentifier>new</DBInstanceIdentifier><Endpoint/><TagList/><VpcSecurityGroups/></DBInstance>
    </DBInstances>
    <Marker>m</Marker>
  </DescribeDBInstancesResult>
  <ResponseMetadata><RequestId>9135fff3-8509-11e0-bd9b-a7b1ece36d51</RequestId></ResponseMetadata>
</DescribeDBInstancesResponse>`,
	"rds DescribeDBSnapshots": `<DescribeDBSnapshotsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBSnapshotsResult>
    <DBSnapshots>
      <DBSnapshot><DBSnapshotIdentifier>my-copy</DBSnapshotIdentifier><DBSnapshotArn>arn:aws:rds:eu-west-1:123456789012:snapshot:my-copy</DBSnapshotArn><Engine>mysql</Engine><Encrypted>false</Encrypted><TagList/></DBSnapshot>
      <DBSnapshot><DBSnapshotIdentifier>other</DBSnapshotIdentifier><Encrypted>true</Encrypted></DBSnapshot>
    </DBSnapshots>
  </DescribeDBSnapshotsResult>
</DescribeDBSnapshotsResponse>`,
	"rds DescribeDBSnapshotAttributes": `<DescribeDBSnapshotAttributesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBSnapshotAttributesResult>
    <DBSnapshotAttributesResult>
      <DBSnapshotAttributes><DBSnapshotAttribute><AttributeName>restore</AttributeName><AttributeValues><AttributeValue>all</AttributeValue><AttributeValue>123456789012</AttributeValue></AttributeValues></DBSnapshotAttribute></DBSnapshotAttributes>
      <DBSnapshotIdentifier>my-copy</DBSnapshotIdentifier>
    </DBSnapshotAttributesResult>
  </DescribeDBSnapshotAttributesResult>
  <ResponseMetadata><RequestId>ae5f0dc7-4b2d-11e4-9b5a-9c4ed2a2d7c1</RequestId></ResponseMetadata>
</DescribeDBSnapshotAttributesResponse>`,
	"rds DescribeDBClusterSnapshots": `<DescribeDBClusterSnapshotsResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBClusterSnapshotsResult>
    <DBClusterSnapshots>
      <DBClusterSnapshot><DBClusterSnapshotIdentifier>c</DBClusterSnapshotIdentifier><DBClusterSnapshotArn>arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:c</DBClusterSnapshotArn><Engine>aurora-mysql</Engine><StorageEncrypted>true</StorageEncrypted></DBClusterSnapshot>
    </DBClusterSnapshots>
    <Marker>next</Marker>
  </DescribeDBClusterSnapshotsResult>
</DescribeDBClusterSnapshotsResponse>`,
	"rds DescribeDBClusterSnapshotAttributes": `<DescribeDBClusterSnapshotAttributesResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/">
  <DescribeDBClusterSnapshotAttributesResult>
    <DBClusterSnapshotAttributesResult>
      <DBClusterSnapshotAttributes><DBClusterSnapshotAttribute><AttributeName>restore</AttributeName><AttributeValues><AttributeValue>all</AttributeValue></AttributeValues></DBClusterSnapshotAttribute>
        <DBClusterSnapshotAttribute><AttributeName>restore</AttributeName><AttributeValues/></DBClusterSnapshotAttribute></DBClusterSnapshotAttributes>
    </DBClusterSnapshotAttributesResult>
  </DescribeDBClusterSnapshotAttributesResult>
</DescribeDBClusterSnapshotAttributesResponse>`,
	"redshift DescribeClusters": `<DescribeClustersResponse xmlns="http://redshift.amazonaws.com/doc/2012-12-01/">
  <DescribeClustersResult>
    <Clusters>
      <Cluster>
        <ClusterIdentifier>facts</ClusterIdentifier><ClusterVersion>1.0</ClusterVersion><Encrypted>false</Encrypted><PubliclyAccessible>true</PubliclyAccessible><ClusterCreateTime>2013-01-22T19:23:59.368Z</ClusterCreateTime>
        <Endpoint><Port>5439</Port><Address>facts.cobbanlpscsn.us-east-1.redshift.amazonaws.com</Address></Endpoint>
        <VpcSecurityGroups><VpcSecurityGroup><Status>active</Status><VpcSecurityGroupId>sg-1</VpcSecurityGroupId></VpcSecurityGroup></VpcSecurityGroups>
        <ClusterNodes><member><NodeRole>LEADER</NodeRole></member></ClusterNodes>
      </Cluster>
    </Clusters>
    <Marker/>
  </DescribeClustersResult>
</DescribeClustersResponse>`,
	"elbv2 DescribeLoadBalancers": `<DescribeLoadBalancersResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
  <DescribeLoadBalancersResult>
    <LoadBalancers>
      <member>
        <LoadBalancerArn>arn:aws:elasticloadbalancing:us-west-2:123456789012:loadbalancer/app/my-load-balancer/50dc6c495c0c9188</LoadBalancerArn><Scheme>internet-facing</Scheme><LoadBalancerName>my-load-balancer</LoadBalancerName>
        <VpcId>vpc-3ac0fb5f</VpcId><CanonicalHostedZoneId>Z2P70J7EXAMPLE</CanonicalHostedZoneId><CreatedTime>2016-03-25T21:26:12.920Z</CreatedTime><State><Code>active</Code></State><Type>application</Type>
        <AvailabilityZones><member><SubnetId>subnet-8360a9e7</SubnetId><ZoneName>us-west-2a</ZoneName><LoadBalancerAddresses><member><IpAddress>x</IpAddress></member></LoadBalancerAddresses></member></AvailabilityZones>
        <SecurityGroups><member>sg-5943793c</member><member>sg-2</member></SecurityGroups><DNSName>my-load-balancer-424835706.us-west-2.elb.amazonaws.com</DNSName>
      </member>
      <member><Scheme>internal</Scheme><Type>network</Type></member>
    </LoadBalancers>
    <NextMarker>token+1</NextMarker>
  </DescribeLoadBalancersResult>
  <ResponseMetadata><RequestId>6581c0ac-f39f-11e5-bb98-57195a6eb84a</RequestId></ResponseMetadata>
</DescribeLoadBalancersResponse>`,
	"elbv2 DescribeListeners": `<DescribeListenersResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">
  <DescribeListenersResult>
    <Listeners>
      <member><ListenerArn>l</ListenerArn><Protocol>HTTPS</Protocol><Port>443</Port><SslPolicy>ELBSecurityPolicy-TLS13-1-2-2021-06</SslPolicy><DefaultActions><member><Type>forward</Type><TargetGroupArn>t</TargetGroupArn></member></DefaultActions></member>
      <member><Protocol>HTTP</Protocol><DefaultActions><member><Type>redirect</Type><RedirectConfig><Protocol>HTTPS</Protocol><Port>443</Port><StatusCode>HTTP_301</StatusCode></RedirectConfig></member><member><Type>fixed-response</Type></member></DefaultActions></member>
    </Listeners>
  </DescribeListenersResult>
</DescribeListenersResponse>`,
	"elb DescribeLoadBalancers": `<DescribeLoadBalancersResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/">
  <DescribeLoadBalancersResult>
    <LoadBalancerDescriptions>
      <member>
        <SecurityGroups><member>sg-1</member></SecurityGroups><LoadBalancerName>MyLoadBalancer</LoadBalancerName><CreatedTime>2013-05-24T21:15:31.280Z</CreatedTime><Scheme>internet-facing</Scheme>
        <DNSName>MyLoadBalancer-123456789.us-west-2.elb.amazonaws.com</DNSName><HealthCheck><Interval>90</Interval><Target>HTTP:80/</Target></HealthCheck>
        <ListenerDescriptions>
          <member><PolicyNames><member>p1</member><member>p2</member></PolicyNames><Listener><Protocol>HTTPS</Protocol><LoadBalancerPort>443</LoadBalancerPort><InstanceProtocol>HTTP</InstanceProtocol></Listener></member>
          <member><PolicyNames/><Listener><Protocol>HTTP</Protocol></Listener></member>
          <member/>
        </ListenerDescriptions>
        <Instances><member><InstanceId>i-e4cbe38d</InstanceId></member></Instances>
      </member>
    </LoadBalancerDescriptions>
    <NextMarker>n</NextMarker>
  </DescribeLoadBalancersResult>
</DescribeLoadBalancersResponse>`,
	"elb DescribeLoadBalancerPolicies": `<DescribeLoadBalancerPoliciesResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/">
  <DescribeLoadBalancerPoliciesResult>
    <PolicyDescriptions>
      <member><PolicyName>p1</PolicyName><PolicyTypeName>SSLNegotiationPolicyType</PolicyTypeName>
        <PolicyAttributeDescriptions><member><AttributeName>Protocol-TLSv1</AttributeName><AttributeValue>true</AttributeValue></member><member><AttributeName>Protocol-SSLv3</AttributeName><AttributeValue>false</AttributeValue></member></PolicyAttributeDescriptions></member>
    </PolicyDescriptions>
  </DescribeLoadBalancerPoliciesResult>
</DescribeLoadBalancerPoliciesResponse>`,
	"sns ListTopics": `<ListTopicsResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
  <ListTopicsResult>
    <Topics><member><TopicArn>arn:aws:sns:us-east-2:123456789012:My-Topic</TopicArn></member><member><TopicArn>arn:aws:sns:us-east-2:123456789012:other</TopicArn></member></Topics>
    <NextToken>AAE=</NextToken>
  </ListTopicsResult>
  <ResponseMetadata><RequestId>3f1478c7-33a9-11df-9540-99d0768312d3</RequestId></ResponseMetadata>
</ListTopicsResponse>`,
	"sns GetTopicAttributes": `<GetTopicAttributesResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
  <GetTopicAttributesResult>
    <Attributes>
      <entry><key>Owner</key><value>123456789012</value></entry>
      <entry><key>Policy</key><value>{"Version":"2008-10-17","Id":"us-east-2/123456789012/test__default_policy_ID","Statement":[{"Effect":"Allow","Sid":"x","Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes"]}]}</value></entry>
      <entry><key>DisplayName</key><value/></entry>
      <entry><key>without</key></entry>
    </Attributes>
  </GetTopicAttributesResult>
</GetTopicAttributesResponse>`,
}
