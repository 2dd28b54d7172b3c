package http

import (
	"encoding/json"
	"regexp"
	"strings"
)

// proofs are the functions that data/exposures.json names.
var proofs = map[string]func(body string) string{
	"git-head": gitHead, "git-config": gitConfig, "git-log": gitLog, "sqlite": sqliteFile, "svn-entries": svnEntries,
	"hg-requires": hgRequires, "bzr-format": begins("Bazaar-NG meta directory", "a Bazaar repository"), "environment": environment,
	"password-file": passwordFile, "aws-credentials": awsCredentials, "url-credentials": urlCredentials,
	"npm-token":     lines("a token of the npm registry", `^(?://\S+:)?_(?:authToken|auth|password)\s*=\s*\S`),
	"pypi-password": contains("a password of the Python package index", "[pypi]", "password"),
	"netrc":         lines("logins for other hosts", `^\s*machine\s+\S+(?:\s+login\s+\S+\s+password\s+\S+)?\s*$`),
	"docker-auths":  dockerAuths, "kubeconfig": contains("a kubeconfig with users", "clusters:", "users:", "current-context:"),
	"terraform-state": members("the state of Terraform", "terraform_version", "version"), "sftp-config": sftpConfig,
	"rails-key": whole("the master key of a Rails application", `^[0-9a-f]{32}\s*$`), "s3-config": contains("access_key and secret_key", "access_key", "secret_key"),
	"service-account": members("the private key of a Google service account", "private_key", "client_email"), "composer-auth": composerAuth,
	"pgpass": lines("passwords of PostgreSQL", `^[^:\s#]+:(?:\d+|\*):[^:\s]+:[^:\s]+:\S+$`), "my-cnf": contains("a password of MySQL", "[client]", "password"),
	"filezilla": contains("saved servers of FileZilla", "<FileZilla3", "<Server"), "wordpress-config": wordpressConfig,
	"joomla-config": contains("the configuration of Joomla", "class JConfig", "$password"), "drupal-config": contains("the configuration of Drupal", "$databases", "'password'"),
	"private-key": privateKey, "php-source": phpSource, "archive": archive, "sql-dump": sqlDump,
	"redis-dump": begins("REDIS00", "a dump of Redis"), "compose": composeFile,
	"dotnet-config": contains("the configuration of an ASP.NET application", "<configuration", "<system.web"), "dotnet-settings": dotnetSettings,
	"spring-settings": lines("settings of a Spring application", `^(?:spring\.[a-z.\-]+\s*=|spring:\s*$)`),
	"rails-database":  contains("the database settings of a Rails application", "production:", "adapter:", "database:"),
	"java-webapp":     contains("the deployment descriptor of a Java application", "<web-app", "</"), "gitlab-ci": contains("a pipeline of GitLab", "script:", "stage"),
	"travis": contains("a build of Travis CI", "language:", "script:"), "jenkinsfile": contains("a pipeline of Jenkins", "pipeline {", "stages {"),
	"circleci": contains("a pipeline of CircleCI", "version:", "jobs:", "steps:"), "dockerfile": dockerfile, "shell-history": shellHistory,
	"mysql-history": begins("_HiStOrY_V2_", "the history of the MySQL client"), "finder": finderStore,
	"intellij": contains("a project of IntelliJ", "<project version=", "<component name="), "eclipse": contains("a project of Eclipse", "<projectDescription>", "</"),
	"composer-installed": installed, "npm-lock": members("the packages of a Node.js application", "lockfileVersion", "packages"), "log": logFile,
	"phpinfo": phpInfo, "apache-status": apacheStatus, "nginx-status": nginxStatus,
	"apache-info": contains("the configuration of Apache", "Apache Server Information", "Server Settings"),
	"fpm-status":  lines("the status page of PHP-FPM", `^process manager:\s+(?:static|dynamic|ondemand)`), "actuator-index": actuatorIndex,
	"actuator-heap-dump": actuatorHeapDump, "actuator-env": actuatorEnvironment, "actuator-config": actuatorConfig, "expvars": expvars,
	"pprof": pprofIndex, "prometheus-metrics": metricsPage, "api-document": apiDocument, "api-page": swaggerPage, "graphql-page": graphqlPage,
	"listing": directoryListing,
}

// begins proves by the first bytes.
func begins(prefix, says string) func(string) string {
	return func(body string) string {
		if strings.HasPrefix(body, prefix) {
			return says
		}
		return ""
	}
}

// contains proves text that is no page by all of its parts.
func contains(says string, parts ...string) func(string) string {
	return func(body string) string {
		if markup(body) {
			return ""
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				return ""
			}
		}
		return says
	}
}

// whole proves by all of the body, lines by one line of text that is no page. The pattern is compiled when it is first needed.
func whole(says, pattern string) func(string) string {
	return func(body string) string {
		if len(body) < 256 && regexp.MustCompile(pattern).MatchString(body) {
			return says
		}
		return ""
	}
}

func lines(says, pattern string) func(string) string {
	return func(body string) string {
		if !markup(body) && regexp.MustCompile("(?m)"+pattern).MatchString(body) {
			return says
		}
		return ""
	}
}

// members proves a JSON object by members at its top. A body that was cut is compared by text.
func members(says string, names ...string) func(string) string {
	return func(body string) string {
		if !strings.HasPrefix(strings.TrimSpace(body), "{") {
			return ""
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &object); err != nil && len(body) < maxExposed {
			return ""
		}
		for _, name := range names {
			if _, ok := object[name]; !ok && (object != nil || !strings.Contains(body, `"`+name+`"`)) {
				return ""
			}
		}
		return says
	}
}

func hgRequires(body string) string {
	if len(body) < 1024 && strings.Contains("\n"+body, "\nrevlogv1\n") || strings.Contains("\n"+body, "\nshare-safe\n") && strings.Contains("\n"+body, "\ndotencode\n") {
		return "the requirements of a Mercurial repository"
	}
	return ""
}

var urlWithPassword = regexp.MustCompile(`(?m)^https?://[^\s:/@<>]{1,200}:[^\s@<>]{1,500}@[^\s/<>]+/?\s*$`)

func urlCredentials(body string) string {
	if !markup(body) && urlWithPassword.MatchString(body) {
		return "addresses with passwords"
	}
	return ""
}

func dockerAuths(body string) string {
	if members("x", "auths")(body) != "" && strings.Contains(body, `"auth"`) {
		return "logins of container registries"
	}
	return ""
}

func sftpConfig(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "{") && strings.Contains(body, `"host"`) && strings.Contains(body, `"password"`) &&
		(strings.Contains(body, `"user"`) || strings.Contains(body, `"username"`)) {
		return "the login of a file transfer"
	}
	return ""
}

func composerAuth(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "{") && (strings.Contains(body, `"http-basic"`) || strings.Contains(body, `"github-oauth"`) || strings.Contains(body, `"gitlab-token"`)) {
		return "logins of package sources"
	}
	return ""
}

func dotnetSettings(body string) string {
	if strings.HasPrefix(strings.TrimSpace(body), "{") && (strings.Contains(body, `"ConnectionStrings"`) || strings.Contains(body, `"Logging"`) && strings.Contains(body, `"LogLevel"`)) {
		return "settings of an ASP.NET Core application"
	}
	return ""
}

var fromLine = regexp.MustCompile(`(?m)^FROM\s+\S+`)

func dockerfile(body string) string {
	if !markup(body) && fromLine.MatchString(body) && (strings.Contains(body, "\nRUN ") || strings.Contains(body, "\nCOPY ") || strings.Contains(body, "\nCMD ")) {
		return "the recipe of a container image"
	}
	return ""
}

var commandOfHistory = regexp.MustCompile(`(?m)^(?:sudo |cd |ls\b|vim? |nano |cat |apt(?:-get)? |git |ssh |systemctl |mysql |docker |rm |cp |mv |exit$)`)

// shellHistory wants several commands that are typed on every machine, and no page.
func shellHistory(body string) string {
	if !markup(body) && !strings.HasPrefix(body, "#!") && len(commandOfHistory.FindAllString(body, 4)) >= 4 {
		return "commands that somebody typed"
	}
	return ""
}

func installed(body string) string {
	if strings.Contains(body, `"version_normalized"`) && strings.Contains(body, `"name"`) && !markup(body) {
		return "the libraries of a PHP application with their versions"
	}
	return ""
}

// logHead are the beginnings of lines in the logs of PHP, Laravel, Apache, nginx, and of accesses (Common Log Format).
var logHead = regexp.MustCompile(`(?m)^(?:\[\d{2}-[A-Z][a-z]{2}-\d{4} \d{2}:\d{2}:\d{2}[^\]]{0,40}\] PHP |\[\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}[^\]]{0,20}\] \w{1,30}\.(?:ERROR|INFO|DEBUG|WARNING|CRITICAL|EMERGENCY)|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2}(?:\.\d+)? \d{4}\] \[|\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2} \[(?:error|warn|crit|notice)\] \d+#|[0-9a-f.:]{3,45} \S+ \S+ \[\d{2}/[A-Z][a-z]{2}/\d{4}:)`)

func logFile(body string) string {
	if !markup(body) && logHead.MatchString(body) {
		return "lines of a log"
	}
	return ""
}

// actuatorHeapDump reads the index only: to ask for the dump would make the application write one.
func actuatorHeapDump(body string) string {
	var index struct {
		Links map[string]json.RawMessage `json:"_links"`
	}
	if json.Unmarshal([]byte(body), &index) == nil && index.Links["heapdump"] != nil {
		return "the actuator offers heapdump"
	}
	return ""
}

// metricsPage knows the text format of Prometheus.
func metricsPage(body string) string {
	if strings.Contains(body, "# TYPE ") && strings.Contains(body, "# HELP ") && !markup(body) {
		return "metrics in the format of Prometheus"
	}
	return ""
}
