package azure

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
	"github.com/riskprofiler/riskprofiler/platform/fault"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes"
	"github.com/riskprofiler/riskprofiler/services/scanner/probes/cloud"
)

// Control is proven by a credential that reads the subscription and a tag that only who controls it can set.
func TestProveRole(t *testing.T) {
	none := fault.New(fault.FailedPrecondition, "there is no credential")
	for name, c := range map[string]struct {
		change func(*azure)
		access *modelv1.CloudAccess
		stored string
		err    error
		code   error
		says   string
	}{
		"good":              {},
		"without a proof":   {change: func(a *azure) { a.tags = nil }, access: &modelv1.CloudAccess{}},
		"no tag":            {change: func(a *azure) { a.tags = nil }, code: fault.FailedPrecondition, says: "does not carry the tag"},
		"another's proof":   {change: func(a *azure) { a.tags = map[string]string{"riskprofiler": proof + "0"} }, code: fault.FailedPrecondition, says: "does not carry the tag"},
		"another app":       {access: &modelv1.CloudAccess{Role: subscription, ExternalId: proof}, code: fault.FailedPrecondition, says: "is of application " + client},
		"no credential":     {err: none, code: fault.FailedPrecondition, says: "no credential"},
		"bad credential":    {stored: `{"tenant":"../x","client_id":"canary"}`, code: fault.FailedPrecondition, says: "no directory"},
		"no json":           {stored: `canary`, code: fault.FailedPrecondition, says: "no JSON"},
		"another cloud":     {stored: strings.Replace(stored, "{", `{"cloud":"mars",`, 1), code: fault.FailedPrecondition, says: "unknown cloud"},
		"wrong secret":      {stored: strings.Replace(stored, secret, "canary-wrong", 1), code: fault.FailedPrecondition, says: "AADSTS7000215"},
		"no access":         {change: fails("/subscriptions/"+subscription, 403, `{"error":{"code":"AuthorizationFailed","message":"canary"}}`), code: fault.FailedPrecondition, says: "AuthorizationFailed"},
		"no subscription":   {change: fails("/subscriptions/"+subscription, 404, `{"error":{"code":"SubscriptionNotFound"}}`), code: fault.FailedPrecondition, says: "SubscriptionNotFound"},
		"down":              {change: fails("/subscriptions/"+subscription, 500, `canary`), code: fault.Unavailable, says: "it fails"},
		"another answers":   {change: fails("/subscriptions/"+subscription, 200, `{"subscriptionId":"`+client+`"}`), code: fault.Unavailable, says: "another"},
		"nonsense":          {change: fails("/subscriptions/"+subscription, 200, `<html>`), code: fault.Unavailable, says: "none or another"},
		"no token":          {change: fails("/"+directory+"/oauth2/v2.0/token", 200, `{}`), code: fault.Unavailable, says: "no token"},
		"login is overrun":  {change: fails("/"+directory+"/oauth2/v2.0/token", 429, `{}`), code: fault.Unavailable, says: "fewer calls"},
		"login goes astray": {change: fails("/"+directory+"/oauth2/v2.0/token", 302, ``), code: fault.Unavailable, says: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAzure(t)
			if c.change != nil {
				c.change(a)
			}
			env, how := a.env(), c.access
			if how == nil {
				how = access()
			}
			if c.stored != "" || c.err != nil {
				env.Credential = func(context.Context, string) (string, error) { return c.stored, c.err }
			}
			err := hasty().ProveRole(t.Context(), env, subscription, how)
			if c.code == nil && err != nil || c.code != nil && (!errors.Is(err, c.code) || !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("%v", err)
			}
			if err != nil {
				clean(t, err.Error())
			}
		})
	}
	if err := hasty().ProveRole(t.Context(), probes.Env{}, subscription, access()); !errors.Is(err, fault.FailedPrecondition) {
		t.Errorf("a scanner without secrets: %v", err)
	}
}

func fails(path string, status int, body string) func(*azure) {
	return func(a *azure) {
		a.faults[strings.ToLower(path)] = func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusFound {
				w.Header().Set("Location", "https://example.com/")
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
}

// A key with its certificate takes the place of a secret; its assertion is what Microsoft documents.
func TestCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "riskprofiler"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"tenantId": directory, "appId": client, "privateKey": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})),
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := newAzure(t)
	env := a.env()
	env.Credential = func(context.Context, string) (string, error) { return string(file), nil }
	if err := hasty().ProveRole(t.Context(), env, subscription, access()); err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(a.forms[0])
	if err != nil || form.Get("client_secret") != "" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		t.Fatalf("%v %v", form, err)
	}
	parts := strings.Split(form.Get("client_assertion"), ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum[:], signature, nil); err != nil {
		t.Error(err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(claims), `"aud":"https://login.microsoftonline.com/`+directory+`/oauth2/v2.0/token"`) || !strings.Contains(string(claims), `"sub":"`+client) {
		t.Errorf("%s %v", claims, err)
	}
}

// estate is a subscription with something of every kind.
func estate(t *testing.T) *azure {
	a := newAzure(t)
	web := a.row("Microsoft.Network/publicIPAddresses", "web", `"sku":{"name":"Standard"}`, `{"ipAddress":"20.50.2.1","dnsSettings":{"fqdn":"web.westeurope.cloudapp.azure.com"},"ipConfiguration":{"id":"`+groupPath+`Microsoft.Network/networkInterfaces/web-nic/ipConfigurations/one"}}`)
	a.row("Microsoft.Network/publicIPAddresses", "left", `"sku":{"name":"Standard"}`, `{"ipAddress":"20.50.2.9"}`)
	front := a.row("Microsoft.Network/publicIPAddresses", "front", ``, `{"ipAddress":"20.50.2.3","ipConfiguration":{"id":"`+groupPath+`Microsoft.Network/loadBalancers/lb/frontendIPConfigurations/f"}}`)
	subnet := groupPath + "Microsoft.Network/virtualNetworks/v/subnets/s"
	nic := a.row("Microsoft.Network/networkInterfaces", "web-nic", ``, `{"networkSecurityGroup":{"id":"`+groupPath+`MICROSOFT.NETWORK/networkSecurityGroups/web-nsg"},"ipConfigurations":[{"properties":{"publicIPAddress":{"id":"`+strings.ToUpper(web)+`"},"subnet":{"id":"`+subnet+`"}}}]}`)
	a.row("Microsoft.Network/networkSecurityGroups", "web-nsg", ``, `{"networkInterfaces":[{"id":"`+nic+`"}],"securityRules":[
		{"name":"deny-rdp","properties":{"access":"Deny","direction":"Inbound","priority":100,"protocol":"*","sourceAddressPrefix":"*","destinationAddressPrefix":"*","destinationPortRange":"3389"}},
		{"name":"any","properties":{"access":"Allow","direction":"Inbound","priority":200,"protocol":"Tcp","sourceAddressPrefix":"Internet","destinationAddressPrefix":"*","destinationPortRanges":["22","3380-3400"]}},
		{"name":"office","properties":{"access":"Allow","direction":"Inbound","priority":300,"protocol":"*","sourceAddressPrefix":"203.0.113.0/24","destinationAddressPrefix":"*","destinationPortRange":"*"}}]}`)
	a.row("Microsoft.Network/networkSecurityGroups", "subnet-nsg", ``, `{"subnets":[{"id":"`+subnet+`"}],"securityRules":[
		{"name":"all","properties":{"access":"Allow","direction":"Inbound","priority":100,"protocol":"*","sourceAddressPrefixes":["0.0.0.0/1","128.0.0.0/1"],"destinationAddressPrefix":"*","destinationPortRange":"0-3385"}}]}`)
	a.row("Microsoft.Network/networkSecurityGroups", "closed-nsg", ``, `{"securityRules":[]}`)
	a.row("Microsoft.Compute/virtualMachines", "web-vm", `"identity":{"type":"SystemAssigned"}`, `{"networkProfile":{"networkInterfaces":[{"id":"`+nic+`"}]}}`)
	a.row("Microsoft.Compute/virtualMachines", "inner-vm", `"identity":null`, `{"networkProfile":{"networkInterfaces":[]}}`)
	a.row("Microsoft.Network/loadBalancers", "lb", ``, `{"frontendIPConfigurations":[{"properties":{"publicIPAddress":{"id":"`+front+`"}}}],"loadBalancingRules":[{"name":"https","properties":{"protocol":"Tcp","frontendPort":443}}]}`)
	a.row("Microsoft.Network/applicationGateways", "gw", ``, `{"frontendIPConfigurations":[{"properties":{"publicIPAddress":{"id":"`+front+`"}}}],"httpListeners":[{"id":"/L1","properties":{"protocol":"Http","hostName":"shop.example.com"}}],"requestRoutingRules":[{"properties":{"httpListener":{"id":"/l1"}}}],"sslPolicy":{"minProtocolVersion":"TLSv1_0"}}`)
	a.row("Microsoft.Web/sites", "shop", `"kind":"app","identity":{"type":"UserAssigned"}`, `{"state":"Running","defaultHostName":"shop.azurewebsites.net","hostNames":["shop.azurewebsites.net","shop.example.com"],"httpsOnly":false,"inboundIpAddress":"20.50.3.3","possibleInboundIpAddresses":"20.50.3.3,20.50.3.4"}`)
	a.row("Microsoft.Web/sites/slots", "shop/stage", `"kind":"app"`, `{"state":"Running","defaultHostName":"shop-stage.azurewebsites.net","httpsOnly":true}`)
	a.answers[strings.ToLower(groupPath+"Microsoft.Web/sites/shop/config/web")] = `{"properties":{"minTlsVersion":"1.0","ftpsState":"AllAllowed","remoteDebuggingEnabled":true,"ipSecurityRestrictions":[{"ipAddress":"Any","action":"Allow","priority":2147483647}]}}`
	a.answers[strings.ToLower(groupPath+"Microsoft.Web/sites/slots/shop/stage/config/web")] = `{"properties":{"minTlsVersion":"1.2","ftpsState":"Disabled","ipSecurityRestrictions":[{"ipAddress":"203.0.113.0/24","action":"Allow","priority":1},{"ipAddress":"Any","action":"Deny","priority":2147483647}]}}`
	storage(a)
	a.row("Microsoft.Sql/servers", "db", ``, `{"fullyQualifiedDomainName":"db.database.windows.net","publicNetworkAccess":"Enabled","minimalTlsVersion":"1.1","version":"12.0"}`)
	a.lists[strings.ToLower(groupPath+"Microsoft.Sql/servers/db/firewallRules")] = []string{
		`{"properties":{"startIpAddress":"0.0.0.0","endIpAddress":"0.0.0.0"}}`, `{"properties":{"startIpAddress":"0.0.0.0","endIpAddress":"127.255.255.255"}}`,
		`{"properties":{"startIpAddress":"128.0.0.0","endIpAddress":"255.255.255.255"}}`,
	}
	a.row("Microsoft.DBforPostgreSQL/flexibleServers", "pg", ``, `{"fullyQualifiedDomainName":"pg.postgres.database.azure.com","version":"16","network":{"publicNetworkAccess":"Enabled"}}`)
	a.lists[strings.ToLower(groupPath+"Microsoft.DBforPostgreSQL/flexibleServers/pg/firewallRules")] = []string{`{"properties":{"startIpAddress":"203.0.113.7","endIpAddress":"203.0.113.7"}}`}
	a.row("Microsoft.DBforMySQL/flexibleServers", "my", ``, `{"fullyQualifiedDomainName":"my.mysql.database.azure.com","version":"8.0.21","network":{"publicNetworkAccess":"Disabled"}}`)
	a.row("Microsoft.ContainerService/managedClusters", "k8s", ``, `{"kubernetesVersion":"1.31","fqdn":"k8s-dns.hcp.westeurope.azmk8s.io","apiServerAccessProfile":{"authorizedIPRanges":[]}}`)
	a.row("Microsoft.ContainerService/managedClusters", "k8s-fenced", ``, `{"fqdn":"f.hcp.westeurope.azmk8s.io","apiServerAccessProfile":{"authorizedIPRanges":["203.0.113.0/24"]}}`)
	a.row("Microsoft.ContainerRegistry/registries", "images", ``, `{"loginServer":"images.azurecr.io","anonymousPullEnabled":true,"adminUserEnabled":false}`)
	a.row("Microsoft.KeyVault/vaults", "kv", ``, `{"vaultUri":"https://kv.vault.azure.net/","networkAcls":{"defaultAction":"Deny"}}`)
	a.row("Microsoft.Cdn/profiles/afdEndpoints", "edge", ``, `{"hostName":"edge-abc.z01.azurefd.net","enabledState":"Enabled"}`)
	a.row("Microsoft.Network/trafficManagerProfiles", "tm", ``, `{"profileStatus":"Enabled","dnsConfig":{"fqdn":"tm.trafficmanager.net"},"endpoints":[{"properties":{"target":"old.azurewebsites.net"}}]}`)
	a.row("Microsoft.ApiManagement/service", "api", ``, `{"gatewayUrl":"https://api.azure-api.net","virtualNetworkType":"None","hostnameConfigurations":[{"hostName":"api.example.com"}],"publicIPAddresses":["20.50.4.4"]}`)
	a.row("Microsoft.App/containerApps", "app", ``, `{"configuration":{"ingress":{"external":true,"fqdn":"app.blue.westeurope.azurecontainerapps.io","allowInsecure":false}}}`)
	a.row("Microsoft.ContainerInstance/containerGroups", "job", ``, `{"ipAddress":{"type":"Public","ip":"20.50.5.5","fqdn":"job.westeurope.azurecontainer.io","ports":[{"protocol":"TCP","port":8080}]}}`)
	a.row("Microsoft.DocumentDB/databaseAccounts", "docs", ``, `{"documentEndpoint":"https://docs.documents.azure.com:443/","ipRules":[],"minimalTlsVersion":"Tls12"}`)
	zone := a.row("Microsoft.Network/dnsZones", "example.com", ``, `{"zoneType":"Public","nameServers":["ns1-01.azure-dns.com."]}`)
	a.lists[strings.ToLower(zone+"/recordsets")] = []string{
		recordSet(zone, "CNAME", "www", `"CNAMERecord":{"cname":"shop.azurewebsites.net"}`), recordSet(zone, "CNAME", "old", `"CNAMERecord":{"cname":"gone.azurewebsites.net"}`),
		recordSet(zone, "A", "@", `"ARecords":[{"ipv4Address":"20.50.3.4"}]`), recordSet(zone, "A", "lost", `"ARecords":[{"ipv4Address":"20.50.9.9"}]`),
		recordSet(zone, "A", "left", `"ARecords":[{"ipv4Address":"20.50.2.9"}]`), recordSet(zone, "MX", "@", `"MXRecords":[{"exchange":"mail.example.com"}]`),
		recordSet(zone, "NS", "@", `"NSRecords":[{"nsdname":"ns1-01.azure-dns.com."}]`), recordSet(zone, "A", "alias", `"targetResource":{"id":"`+web+`"}`),
	}
	a.row("Microsoft.Unknown/things", "x", ``, `{}`)
	return a
}

func recordSet(zone, kind, name, properties string) string {
	fqdn := name + ".example.com."
	if name == "@" {
		fqdn = "example.com."
	}
	return `{"id":"` + zone + "/" + kind + "/" + name + `","name":"` + name + `","type":"Microsoft.Network/dnszones/` + kind + `","properties":{"fqdn":"` + fqdn + `","TTL":60,` + properties + `}}`
}

func storage(a *azure) {
	open := a.row("Microsoft.Storage/storageAccounts", "files", ``, `{"primaryEndpoints":{"blob":"https://files.blob.core.windows.net/","web":"https://files.z6.web.core.windows.net/"},"allowBlobPublicAccess":true,"minimumTlsVersion":"TLS1_0","supportsHttpsTrafficOnly":true,"networkAcls":{"defaultAction":"Allow"}}`)
	a.row("Microsoft.Storage/storageAccounts", "shut", ``, `{"primaryEndpoints":{"blob":"https://shut.blob.core.windows.net/"},"allowBlobPublicAccess":false,"networkAcls":{"defaultAction":"Allow"}}`)
	containers := strings.ToLower(open + "/blobServices/default/containers")
	for name, kind := range map[string]string{"listed": "Container", "named": "Blob", "inner": "None"} {
		a.lists[containers] = append(a.lists[containers], `{"id":"`+open+`/blobServices/default/containers/`+name+`","name":"`+name+`","properties":{"publicAccess":"`+kind+`"}}`)
	}
}

// The whole of a subscription, page by page.
func TestInventory(t *testing.T) {
	a := estate(t)
	got := a.read(t)
	if len(got.gaps) > 0 {
		t.Fatalf("gaps: %v", got.gaps)
	}
	for _, c := range []struct {
		kind, name string
		public     bool
		settings   map[string]string
		addresses  string
		hostnames  string
	}{
		{"Microsoft.Network/publicIPAddresses", "web", false, map[string]string{cloud.SettingAttached: cloud.Yes}, "20.50.2.1", "web.westeurope.cloudapp.azure.com"},
		{"Microsoft.Network/publicIPAddresses", "left", false, map[string]string{cloud.SettingAttached: cloud.No}, "20.50.2.9", ""},
		{"Microsoft.Compute/virtualMachines", "web-vm", true, map[string]string{cloud.SettingOpenToWorld: cloud.Yes, cloud.SettingInstanceProfile: "SystemAssigned"}, "20.50.2.1", "web.westeurope.cloudapp.azure.com"},
		{"Microsoft.Compute/virtualMachines", "inner-vm", false, map[string]string{cloud.SettingInstanceProfile: cloud.None}, "", ""},
		{"Microsoft.Network/networkSecurityGroups", "web-nsg", true, map[string]string{cloud.SettingAttachedPublic: cloud.Yes}, "", ""},
		{"Microsoft.Network/networkSecurityGroups", "subnet-nsg", true, map[string]string{cloud.SettingAttachedPublic: cloud.Yes}, "", ""},
		{"Microsoft.Network/loadBalancers", "lb", true, map[string]string{cloud.SettingScheme: "internet-facing"}, "20.50.2.3", ""},
		{"Microsoft.Network/applicationGateways", "gw", true, map[string]string{cloud.SettingPlainHTTP: cloud.Yes, cloud.SettingWebACL: cloud.None, cloud.SettingMinimumTLS: cloud.TLS10}, "20.50.2.3", "shop.example.com"},
		{"Microsoft.Web/sites", "shop", true, map[string]string{cloud.SettingMinimumTLS: cloud.TLS10, cloud.SettingPlainHTTP: cloud.Yes, "ftp": "allallowed", "remote-debugging": cloud.Yes, cloud.SettingOpenToWorld: cloud.Yes}, "", "shop.azurewebsites.net shop.azurewebsites.net shop.example.com"},
		{"Microsoft.Web/sites/slots", "shop/stage", false, map[string]string{cloud.SettingOpenToWorld: cloud.No, cloud.SettingMinimumTLS: cloud.TLS12}, "", "shop-stage.azurewebsites.net"},
		{"Microsoft.Storage/storageAccounts", "files", false, map[string]string{cloud.SettingAccessBlock: cloud.BlockNone, cloud.SettingMinimumTLS: cloud.TLS10, cloud.SettingPlainHTTP: cloud.No}, "", "files.blob.core.windows.net files.z6.web.core.windows.net"},
		{"Microsoft.Storage/storageAccounts", "shut", false, map[string]string{cloud.SettingAccessBlock: cloud.BlockAll}, "", "shut.blob.core.windows.net"},
		{typeContainer, "files/listed", true, map[string]string{cloud.SettingPublicRead: cloud.Yes, cloud.SettingPublicList: cloud.Yes, cloud.SettingPublicWrite: cloud.No}, "", ""},
		{typeContainer, "files/named", true, map[string]string{cloud.SettingPublicRead: cloud.Yes, cloud.SettingPublicList: cloud.No}, "", ""},
		{"Microsoft.Sql/servers", "db", true, map[string]string{cloud.SettingOpenToWorld: cloud.Yes, cloud.SettingMinimumTLS: cloud.TLS11}, "", "db.database.windows.net"},
		{"Microsoft.DBforPostgreSQL/flexibleServers", "pg", false, map[string]string{cloud.SettingOpenToWorld: cloud.No, cloud.SettingEngine: "postgres 16"}, "", "pg.postgres.database.azure.com"},
		{"Microsoft.DBforMySQL/flexibleServers", "my", false, map[string]string{cloud.SettingPubliclyAccessible: cloud.No}, "", "my.mysql.database.azure.com"},
		{"Microsoft.ContainerService/managedClusters", "k8s", true, map[string]string{cloud.SettingOpenToWorld: cloud.Yes, cloud.SettingEngine: "kubernetes 1.31"}, "", "k8s-dns.hcp.westeurope.azmk8s.io"},
		{"Microsoft.ContainerService/managedClusters", "k8s-fenced", false, map[string]string{cloud.SettingOpenToWorld: cloud.No}, "", "f.hcp.westeurope.azmk8s.io"},
		{"Microsoft.ContainerRegistry/registries", "images", true, map[string]string{cloud.SettingAnonymous: cloud.Yes}, "", "images.azurecr.io"},
		{"Microsoft.KeyVault/vaults", "kv", false, map[string]string{cloud.SettingOpenToWorld: cloud.No, cloud.SettingPubliclyAccessible: cloud.Yes}, "", "kv.vault.azure.net"},
		{"Microsoft.Cdn/profiles/afdEndpoints", "edge", true, nil, "", "edge-abc.z01.azurefd.net"},
		{"Microsoft.Network/trafficManagerProfiles", "tm", true, nil, "", "tm.trafficmanager.net"},
		{"Microsoft.ApiManagement/service", "api", true, nil, "20.50.4.4", "api.azure-api.net api.example.com"},
		{"Microsoft.App/containerApps", "app", true, map[string]string{cloud.SettingOpenToWorld: cloud.Yes}, "", "app.blue.westeurope.azurecontainerapps.io"},
		{"Microsoft.ContainerInstance/containerGroups", "job", true, map[string]string{cloud.SettingOpenToWorld: cloud.Yes}, "20.50.5.5", "job.westeurope.azurecontainer.io"},
		{"Microsoft.DocumentDB/databaseAccounts", "docs", true, map[string]string{cloud.SettingMinimumTLS: cloud.TLS12}, "", "docs.documents.azure.com"},
		{typeRecord, "old.example.com", false, map[string]string{cloud.SettingDangling: cloud.DanglingEnvironment, "record": "CNAME"}, "", "old.example.com"},
		{typeRecord, "left.example.com", false, map[string]string{cloud.SettingDangling: cloud.DanglingIdleAddress}, "", "left.example.com"},
		{typeRecord, "lost.example.com", false, map[string]string{cloud.SettingDangling: cloud.DanglingAddress}, "", "lost.example.com"},
	} {
		f := got.fact(t, c.kind, c.name)
		if f.GetPublic() != c.public || f.GetPublic() != (f.GetPublicReason() != "") || strings.Join(f.GetAddresses(), " ") != c.addresses || strings.Join(f.GetHostnames(), " ") != c.hostnames {
			t.Errorf("%s %s: %v", c.kind, c.name, f)
		}
		for name, want := range c.settings {
			if f.GetSettings()[name] != want {
				t.Errorf("%s %s: %s is %q, want %q", c.kind, c.name, name, f.GetSettings()[name], want)
			}
		}
	}
	for _, absent := range []string{typeContainer + " files/inner", "Microsoft.Network/networkSecurityGroups closed-nsg", "Microsoft.Unknown/things x"} {
		if _, ok := got.facts[absent]; ok {
			t.Errorf("%s was handed over", absent)
		}
	}
	for _, held := range []string{"www", "alias"} {
		if why := got.fact(t, typeRecord, held+".example.com").GetSettings()[cloud.SettingDangling]; why != "" {
			t.Errorf("%s: %s", held, why)
		}
	}
	if got.fact(t, typeRecord, "example.com").GetSettings()[cloud.SettingDangling] != "" {
		t.Error("an address of App Service that a site of the account has is not lost")
	}
	ports := ""
	for _, i := range got.fact(t, "Microsoft.Compute/virtualMachines", "web-vm").GetIngress() {
		ports += " " + i.String()
	}
	// 22, and of 3380-3400 what neither the group before the subnet (to 3385) nor the denial (3389) takes away.
	if n := len(got.fact(t, "Microsoft.Compute/virtualMachines", "web-vm").GetIngress()); n != 2 || !strings.Contains(ports, "from_port:22") || !strings.Contains(ports, "to_port:3385") {
		t.Errorf("ingress:%s", ports)
	}
	if !got.facts["Microsoft.Network/publicIPAddresses left"].Dedicated || got.facts["Microsoft.ApiManagement/service api"].Dedicated {
		t.Error("a lead is of an address that is the account's alone")
	}
	if n := a.asked["/"+directory+"/oauth2/v2.0/token"]; n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// What could not be read is named, and nothing is said to be missing then.
func TestGaps(t *testing.T) {
	sql := groupPath + "Microsoft.Sql/servers/db/firewallRules"
	graph := "/providers/Microsoft.ResourceGraph/resources"
	foreign := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked with %q", r.Header.Get("Authorization")) }))
	defer foreign.Close()
	for name, c := range map[string]struct {
		change func(*azure)
		api    string
		why    cloud.GapKind
		whole  bool // the inventory itself is
	}{
		"a part of the subscription": {func(a *azure) { a.permissions = `{"value":[{"actions":["Microsoft.Web/*/read"],"notActions":[]}]}` }, "Reader at the scope of the subscription", cloud.GapDenied, false},
		"graph is refused":           {fails(graph, 403, `{"error":{"code":"Forbidden"}}`), "Microsoft.ResourceGraph/resources/read", cloud.GapDenied, false},
		"graph is overrun":           {fails(graph, 429, `{}`), "Microsoft.ResourceGraph/resources/read", cloud.GapThrottled, false},
		"graph is cut":               {fails(graph, 200, `{"resultTruncated":"true","data":[]}`), "Microsoft.ResourceGraph/resources/read", cloud.GapFailed, false},
		"graph talks nonsense":       {fails(graph, 200, `{"data":{"columns":[]}}`), "Microsoft.ResourceGraph/resources/read", cloud.GapFailed, false},
		"graph goes in a circle":     {fails(graph, 200, `{"data":[],"$skipToken":"a"}`), "Microsoft.ResourceGraph/resources/read", cloud.GapFailed, false},
		"a row is odd":               {func(a *azure) { a.row("Microsoft.KeyVault/vaults", "odd", ``, `{"vaultUri":5}`) }, "Microsoft.KeyVault/vaults/read", cloud.GapFailed, false},
		"rules are refused":          {fails(sql, 403, `{"error":{"code":"AuthorizationFailed"}}`), "Microsoft.Sql/servers/firewallRules/read", cloud.GapDenied, true},
		"the next page is elsewhere": {fails(sql, 200, `{"value":[],"nextLink":"`+foreign.URL+`/x"}`), "Microsoft.Sql/servers/firewallRules/read", cloud.GapFailed, true},
		"a rule is odd":              {fails(sql, 200, `{"value":[{"properties":{"startIpAddress":"x"}}]}`), "Microsoft.Sql/servers/firewallRules/read", cloud.GapFailed, true},
		"a site's settings":          {fails(groupPath+"Microsoft.Web/sites/shop/config/web", 500, `canary`), "Microsoft.Web/sites/config/read", cloud.GapFailed, true},
		"containers":                 {fails(groupPath+"Microsoft.Storage/storageAccounts/files/blobServices/default/containers", 409, `{"error":{"code":"FeatureNotSupportedForAccount"}}`), typeContainer + "/read", cloud.GapFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := estate(t)
			c.change(a)
			got := a.read(t)
			if len(got.gaps) == 0 || got.gaps[0].API != c.api || got.gaps[0].Why != c.why {
				t.Fatalf("%v", got.gaps)
			}
			dangling := 0
			for _, r := range got.facts {
				if r.Fact.GetSettings()[cloud.SettingDangling] != "" {
					dangling++
				}
			}
			if c.whole != (dangling == 3) {
				t.Errorf("%d records lead to nothing", dangling)
			}
			if db, ok := got.facts["Microsoft.Sql/servers db"]; ok && c.api == "Microsoft.Sql/servers/firewallRules/read" && db.Fact.GetSettings()[cloud.SettingOpenToWorld] != "" {
				t.Error("it is not known whether it is open")
			}
		})
	}
}

// An error of the caller ends the reading and is given back.
func TestEmitEnds(t *testing.T) {
	full, n := errors.New("full"), 0
	_, err := hasty().Inventory(t.Context(), estate(t).env(), subscription, access(), func(cloud.Resource) error {
		if n++; n > 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || n > 3+askers {
		t.Errorf("%v after %d", err, n)
	}
}

// A scan whose time is over names it.
func TestTimeOver(t *testing.T) {
	a := estate(t)
	ctx, cancel := context.WithCancel(t.Context())
	gaps, err := hasty().Inventory(ctx, a.env(), subscription, access(), func(cloud.Resource) error { cancel(); return nil })
	if err != nil || len(gaps) == 0 || gaps[0].Why != cloud.GapTime {
		t.Errorf("%v %v", gaps, err)
	}
}
