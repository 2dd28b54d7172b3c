package http

import "net/netip"

// path is one path that should not answer, and what would prove that it does.
type path struct {
	path string
	kind string
	// proof reads the answer's body and says what in it proves the exposure, "" if nothing does.
	proof func(body string) string
}

// commonPaths are asked for from the standard profile on: at most 40, chosen by how often they are found and how bad they are.
func commonPaths() []path {
	return []path{
		{"/.git/HEAD", "git", gitHead},
		{"/.git/config", "git", gitConfig},
		{"/.svn/wc.db", "svn", sqliteFile},
		{"/.svn/entries", "svn", svnEntries},
		{"/.env", "env", environment},
		{"/.env.local", "env", environment},
		{"/.env.production", "env", environment},
		{"/.env.backup", "env", environment},
		{"/.DS_Store", "ds-store", finderStore},
		{"/.htpasswd", "htpasswd", passwordFile},
		{"/.aws/credentials", "aws-credentials", awsCredentials},
		{"/docker-compose.yml", "docker-compose", composeFile},
		{"/wp-config.php.bak", "wp-config", wordpressConfig},
		{"/wp-config.php~", "wp-config", wordpressConfig},
		{"/index.php~", "backup", phpSource},
		{"/index.php.bak", "backup", phpSource},
		{"/backup.zip", "backup", archive},
		{"/backup.tar.gz", "backup", archive},
		{"/backup.sql", "database-dump", sqlDump},
		{"/dump.sql", "database-dump", sqlDump},
		{"/database.sql", "database-dump", sqlDump},
		{"/db.sql", "database-dump", sqlDump},
		{"/id_rsa", "private-key", privateKey},
		{"/server.key", "private-key", privateKey},
		{"/phpinfo.php", "phpinfo", phpInfo},
		{"/info.php", "phpinfo", phpInfo},
		{"/server-status", "server-status", apacheStatus},
		{"/nginx_status", "server-status", nginxStatus},
		{"/actuator", "actuator", actuatorIndex},
		{"/actuator/env", "actuator", actuatorEnvironment},
		{"/debug/vars", "debug-vars", expvars},
		{"/debug/pprof/", "debug-vars", pprofIndex},
		{"/swagger.json", "swagger", apiDocument},
		{"/openapi.json", "swagger", apiDocument},
		{"/v3/api-docs", "swagger", apiDocument},
		{"/swagger-ui/index.html", "swagger", swaggerPage},
		{"/graphql", "graphql-playground", graphqlPage},
		{"/backup/", "directory-listing", directoryListing},
		{"/uploads/", "directory-listing", directoryListing},
		{"/files/", "directory-listing", directoryListing},
	}
}

// rarePaths are asked for in the deep profile as well; host gives names that people choose for archives of their site.
func rarePaths(host string) []path {
	out := []path{
		{"/.git/logs/HEAD", "git", gitLog},
		{"/.env.dev", "env", environment},
		{"/.env.bak", "env", environment},
		{"/.env.old", "env", environment},
		{"/config/.env", "env", environment},
		{"/api/.env", "env", environment},
		{"/.ssh/id_rsa", "private-key", privateKey},
		{"/private.key", "private-key", privateKey},
		{"/privkey.pem", "private-key", privateKey},
		{"/ssl/server.key", "private-key", privateKey},
		{"/docker-compose.yaml", "docker-compose", composeFile},
		{"/wp-config.php.old", "wp-config", wordpressConfig},
		{"/wp-config.php.save", "wp-config", wordpressConfig},
		{"/.wp-config.php.swp", "wp-config", wordpressConfig},
		{"/index.php.old", "backup", phpSource},
		{"/config.php.bak", "backup", phpSource},
		{"/config.php~", "backup", phpSource},
		{"/www.zip", "backup", archive},
		{"/site.zip", "backup", archive},
		{"/html.tar.gz", "backup", archive},
		{"/mysql.sql", "database-dump", sqlDump},
		{"/data.sql", "database-dump", sqlDump},
		{"/dump.sql.gz", "database-dump", archive},
		{"/phpinfo", "phpinfo", phpInfo},
		{"/test.php", "phpinfo", phpInfo},
		{"/actuator/configprops", "actuator", actuatorConfig},
		{"/api-docs", "swagger", apiDocument},
		{"/v2/api-docs", "swagger", apiDocument},
		{"/api/swagger.json", "swagger", apiDocument},
		{"/graphiql", "graphql-playground", graphqlPage},
		{"/playground", "graphql-playground", graphqlPage},
		{"/images/", "directory-listing", directoryListing},
		{"/static/", "directory-listing", directoryListing},
		{"/assets/", "directory-listing", directoryListing},
		{"/logs/", "directory-listing", directoryListing},
		{"/tmp/", "directory-listing", directoryListing},
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" {
		for _, end := range []string{".zip", ".tar.gz"} {
			out = append(out, path{"/" + host + end, "backup", archive})
		}
	}
	return out
}
