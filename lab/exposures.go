package lab

// Several common names stand for one kind of exposure, so that it does not hang on which of them a scanner asks for.

// exposedFiles are files that do not belong into a web root. All of it is made up.
var exposedFiles = map[string]answer{
	"/.git/HEAD":         {kind: typeText, body: "ref: refs/heads/main\n"},
	"/.git/config":       {kind: typeText, body: "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n[remote \"origin\"]\n\turl = https://git.acme.test/shop.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"},
	"/.git/logs/HEAD":    {kind: typeText, body: "0000000000000000000000000000000000000000 4b825dc642cb6eb9a060e54bf8d69288fbee4904 A <a@acme.test> 1700000000 +0000\tcommit (initial): start\n"},
	"/.git/index":        {kind: typeData, body: "DIRC\x00\x00\x00\x02\x00\x00\x00\x00"},
	"/.svn/entries":      {kind: typeText, body: "12\n"},
	"/.svn/wc.db":        {kind: typeData, body: "SQLite format 3\x00\x10\x00\x01\x01"},
	"/.env":              {kind: typeText, body: "APP_NAME=acme\nAPP_ENV=production\nAPP_DEBUG=true\nAPP_KEY=base64:bGFiLWxhYi1sYWItbGFiLWxhYi1sYWItbGFiLWxhYgo=\nDB_HOST=localhost\nDB_USERNAME=acme\nDB_PASSWORD=not-a-password\n"},
	"/.DS_Store":         {kind: typeData, body: "\x00\x00\x00\x01Bud1\x00\x00\x10\x00\x00\x00\x08\x00"},
	"/.htpasswd":         {kind: typeText, body: "admin:$apr1$labsalt0$0123456789abcdefghijk.\n"},
	"/wp-config.php.bak": {kind: typeText, body: wpConfig},
	"/wp-config.php~":    {kind: typeText, body: wpConfig},
	"/wp-config.bak":     {kind: typeText, body: wpConfig},
	"/backup.zip":        {kind: "application/zip", body: emptyZip},
	"/site.zip":          {kind: "application/zip", body: emptyZip},
	"/www.zip":           {kind: "application/zip", body: emptyZip},
	"/backup.tar.gz":     {kind: "application/gzip", body: gzipStart},
	"/site.tar.gz":       {kind: "application/gzip", body: gzipStart},
	"/index.php.bak":     {kind: typeText, body: "<?php\nrequire 'settings.php';\necho render('home');\n"},
	"/index.php~":        {kind: typeText, body: "<?php\nrequire 'settings.php';\necho render('home');\n"},
	"/backup.sql":        {kind: "application/sql", body: sqlDump},
	"/database.sql":      {kind: "application/sql", body: sqlDump},
	"/dump.sql":          {kind: "application/sql", body: sqlDump},
	"/db.sql":            {kind: "application/sql", body: sqlDump},
	"/server.key":        {kind: typeText, body: privateKey},
	"/private.key":       {kind: typeText, body: privateKey},
	"/privkey.pem":       {kind: typeText, body: privateKey},
	"/id_rsa":            {kind: typeText, body: privateKey},
	"/.ssh/id_rsa":       {kind: typeText, body: privateKey},
	"/phpinfo.php":       {body: phpInfo},
	"/info.php":          {body: phpInfo},
	"/server-status":     {body: html("Apache Status", "<h1>Apache Server Status for www.acme.test (via 127.0.0.1)</h1>\n<dl><dt>Server Version: Apache/2.4.29 (Ubuntu)</dt><dt>Server MPM: event</dt><dt>Server uptime: 4 days</dt><dt>Total accesses: 4711 - Total Traffic: 12 MB</dt></dl>")},
}

// exposedSettings are settings of a deployment.
var exposedSettings = map[string]answer{
	"/docker-compose.yml": {kind: typeText, body: "version: \"3\"\nservices:\n  web:\n    image: acme/web:1.2\n    ports:\n      - \"80:8000\"\n    environment:\n      DATABASE_URL: postgres://acme@db/acme\n  db:\n    image: postgres:9.6\n"},
	// The example key of the AWS documentation.
	"/.aws/credentials": {kind: typeText, body: "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"},
}

// exposedManagement are the management and documentation pages of a service.
var exposedManagement = map[string]answer{
	"/actuator":              {kind: typeJSON, body: `{"_links":{"self":{"href":"/actuator","templated":false},"health":{"href":"/actuator/health","templated":false},"env":{"href":"/actuator/env","templated":false},"heapdump":{"href":"/actuator/heapdump","templated":false}}}`},
	"/actuator/env":          {kind: typeJSON, body: `{"activeProfiles":["production"],"propertySources":[{"name":"systemProperties","properties":{"java.version":{"value":"11.0.2"}}}]}`},
	"/actuator/health":       {kind: typeJSON, body: `{"status":"UP"}`},
	"/debug/vars":            {kind: typeJSON, body: `{"cmdline":["/srv/acme-api"],"memstats":{"Alloc":1048576,"TotalAlloc":2097152,"Sys":8388608}}`},
	"/swagger.json":          {kind: typeJSON, body: `{"swagger":"2.0","info":{"title":"Acme","version":"1.0"},"paths":{"/orders":{"get":{"responses":{"200":{"description":"ok"}}}}}}`},
	"/openapi.json":          {kind: typeJSON, body: `{"openapi":"3.0.0","info":{"title":"Acme","version":"1.0"},"paths":{"/orders":{"get":{"responses":{"200":{"description":"ok"}}}}}}`},
	"/v2/api-docs":           {kind: typeJSON, body: `{"swagger":"2.0","info":{"title":"Acme","version":"1.0"},"paths":{}}`},
	"/v3/api-docs":           {kind: typeJSON, body: `{"openapi":"3.0.1","info":{"title":"Acme","version":"1.0"},"paths":{}}`},
	"/swagger-ui.html":       {body: html("Swagger UI", `<div id="swagger-ui"></div><script src="/swagger-ui-bundle.js"></script>`)},
	"/swagger-ui/index.html": {body: html("Swagger UI", `<div id="swagger-ui"></div><script src="/swagger-ui-bundle.js"></script>`)},
	"/graphql":               {body: graphqlPlayground},
	"/graphiql":              {body: html("GraphiQL", `<div id="graphiql">Loading...</div><script src="/graphiql.min.js"></script>`)},
	"/playground":            {body: graphqlPlayground},
}

var (
	phpInfo = html("phpinfo()", `<div class="center"><table><tr class="h"><td><h1 class="p">PHP Version 7.2.24</h1></td></tr></table>
<table><tr><td class="e">System </td><td class="v">Linux www 4.15.0 </td></tr><tr><td class="e">PHP API </td><td class="v">20170718 </td></tr></table></div>`)
	graphqlPlayground = html("GraphQL Playground", `<div id="root"></div><script>window.addEventListener('load', function () { GraphQLPlayground.init(document.getElementById('root'), { endpoint: '/graphql' }) })</script>`)
)

const (
	wpConfig = "<?php\ndefine( 'DB_NAME', 'acme' );\ndefine( 'DB_USER', 'acme' );\ndefine( 'DB_PASSWORD', 'not-a-password' );\ndefine( 'DB_HOST', 'localhost' );\ndefine( 'AUTH_KEY', 'put your unique phrase here' );\n$table_prefix = 'wp_';\nrequire_once ABSPATH . 'wp-settings.php';\n"
	sqlDump  = "-- MySQL dump 10.13  Distrib 5.7.29, for Linux (x86_64)\n--\n-- Host: localhost    Database: acme\n-- ------------------------------------------------------\nDROP TABLE IF EXISTS `customers`;\nCREATE TABLE `customers` (\n  `id` int(11) NOT NULL,\n  `name` varchar(100) DEFAULT NULL\n);\nINSERT INTO `customers` VALUES (1,'A. Nobody');\n"
	// privateKey has the form of a key and is none.
	privateKey = "-----BEGIN RSA PRIVATE KEY-----\n" +
		"bGFiIGxhYiBsYWIgbGFiIGxhYiBsYWIgbGFiIGxhYiBsYWIgbGFiIGxhYiBsYWIg\n" +
		"bm90IGEga2V5IG5vdCBhIGtleSBub3QgYSBrZXkgbm90IGEga2V5IG5vdCBhIGtl\n" +
		"-----END RSA PRIVATE KEY-----\n"
	// emptyZip is a local file header of one empty entry and an end record (PKWARE APPNOTE 4.3.7 and 4.3.16).
	emptyZip = "PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00!\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00site.sql" +
		"PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	// gzipStart is an empty gzip member (RFC 1952).
	gzipStart = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"
)
