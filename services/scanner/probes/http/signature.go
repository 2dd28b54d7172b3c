package http

import (
	"bytes"
	nethttp "net/http"
	"strings"
)

// maxSignature is how much of a body is searched for signatures: default pages and panels say who they are at the top.
const maxSignature = 128 << 10

// signature recognises one kind of page. All its texts must be there; they are compared in lower case. An empty field is not
// asked for. The texts were written down from the products' own pages.
type signature struct {
	name  string
	title string   // the title begins with it
	body  []string // the body contains each of them
	realm string   // the Basic or Digest realm contains it (status 401)
}

// defaultPages are what servers and frameworks show before anybody put an application there.
var defaultPages = []signature{
	{name: "nginx", title: "welcome to nginx"},
	{name: "openresty", title: "welcome to openresty"},
	{name: "apache", body: []string{"<h1>it works!</h1>"}},
	{name: "apache", title: "apache2 ubuntu default page"},
	{name: "apache", title: "apache2 debian default page"},
	{name: "apache", title: "apache http server test page"},
	{name: "apache", title: "http server test page powered by centos"},
	{name: "apache", title: "test page for the apache http server"},
	{name: "iis", title: "iis windows"},
	{name: "iis", title: "iis7"},
	{name: "iis", body: []string{"iisstart.png"}},
	{name: "tomcat", title: "apache tomcat/", body: []string{"if you're seeing this, you've successfully installed tomcat"}},
	{name: "jetty", body: []string{"<h2>http error 404", "powered by jetty"}},
	{name: "caddy", title: "caddy works!"},
	{name: "lighttpd", title: "welcome page", body: []string{"lighttpd"}},
	{name: "wildfly", title: "welcome to wildfly"},
	{name: "jboss", title: "welcome to jboss"},
	{name: "glassfish", title: "glassfish server - server running"},
	{name: "weblogic", body: []string{"welcome to weblogic server"}},
	{name: "plesk", title: "domain default page"},
	{name: "cpanel", body: []string{"/cgi-sys/defaultwebpage.cgi"}},
	{name: "xampp", title: "welcome to xampp"},
	{name: "django", body: []string{"the install worked successfully! congratulations!"}},
	{name: "laravel", title: "laravel", body: []string{"laravel.com/docs", "laracasts.com"}},
	{name: "rails", title: "ruby on rails", body: []string{"rails version"}},
	{name: "spring-boot", body: []string{"whitelabel error page", "this application has no explicit mapping for /error"}},
	{name: "express", title: "express", body: []string{"<p>welcome to express</p>"}},
	{name: "nextjs", body: []string{"get started by editing", "next.js"}},
	{name: "wordpress-install", title: "wordpress &rsaquo; installation"},
	{name: "varnish", body: []string{"varnish cache server", "error 503"}},
}

// panels are login and administration pages of products that seldom belong on the internet.
var panels = []signature{
	{name: "phpMyAdmin", title: "phpmyadmin"},
	{name: "phpMyAdmin", body: []string{"pma_username", "phpmyadmin"}},
	{name: "Adminer", body: []string{"adminer.org", "auth[driver]"}},
	{name: "pgAdmin", title: "pgadmin 4"},
	{name: "Jenkins", title: "dashboard [jenkins]"},
	{name: "Jenkins", title: "dashboard - jenkins"},
	{name: "Jenkins", title: "sign in [jenkins]"},
	{name: "Jenkins", title: "sign in - jenkins"},
	{name: "Grafana", title: "grafana"},
	{name: "Kibana", body: []string{"kbn-injected-metadata"}},
	{name: "Kibana", title: "kibana"},
	{name: "OpenSearch Dashboards", body: []string{"osd-injected-metadata"}},
	{name: "Tomcat Manager", realm: "tomcat manager application"},
	{name: "Tomcat Manager", title: "/manager"},
	{name: "JBoss Management", realm: "managementrealm"},
	{name: "WebLogic Console", title: "oracle weblogic server administration console"},
	{name: "GitLab", title: "sign in", body: []string{"gitlab", "user[login]"}},
	{name: "Gitea", body: []string{"powered by gitea", "/user/login"}},
	{name: "Portainer", title: "portainer"},
	{name: "Rancher", title: "rancher"},
	{name: "Kubernetes Dashboard", title: "kubernetes dashboard"},
	{name: "Argo CD", title: "argo cd"},
	{name: "Traefik", title: "traefik"},
	{name: "HashiCorp Vault", title: "vault", body: []string{"vault/config/environment"}},
	{name: "HashiCorp Consul", title: "consul by hashicorp"},
	{name: "HashiCorp Nomad", title: "nomad", body: []string{"nomad-ui"}},
	{name: "RabbitMQ Management", title: "rabbitmq management"},
	{name: "ActiveMQ", realm: "activemqrealm"},
	{name: "Apache Solr", title: "solr admin"},
	{name: "Apache Airflow", title: "airflow"},
	{name: "Apache NiFi", title: "nifi"},
	{name: "Apache Superset", title: "superset"},
	{name: "Spark", title: "spark master at"},
	{name: "Hadoop YARN", title: "all applications", body: []string{"hadoop"}},
	{name: "Prometheus", title: "prometheus time series collection and processing server"},
	{name: "Alertmanager", title: "alertmanager"},
	{name: "SonarQube", title: "sonarqube"},
	{name: "Nexus Repository", title: "nexus repository manager"},
	{name: "Nexus Repository", title: "sonatype nexus repository"},
	{name: "Artifactory", title: "jfrog"},
	{name: "Harbor", title: "harbor"},
	{name: "MinIO Console", title: "minio console"},
	{name: "Keycloak", title: "welcome to keycloak"},
	{name: "Zabbix", title: "zabbix", body: []string{"name=\"password\""}},
	{name: "Nagios", realm: "nagios access"},
	{name: "Metabase", title: "metabase"},
	{name: "Redash", title: "login to redash"},
	{name: "Jupyter", title: "jupyter notebook"},
	{name: "Jupyter", title: "jupyter server"},
	{name: "Node-RED", title: "node-red"},
	{name: "Webmin", title: "login to webmin"},
	{name: "cPanel", title: "cpanel login"},
	{name: "WHM", title: "whm login"},
	{name: "Plesk", title: "plesk"},
	{name: "WordPress", title: "log in", body: []string{"wp-login.php", "wp-submit"}},
	{name: "Joomla Administrator", body: []string{"com_login", "/administrator/"}},
	{name: "Drupal", body: []string{"user-login-form", "drupal"}},
	{name: "Django Admin", title: "log in | django site admin"},
	{name: "Roundcube", title: "roundcube webmail"},
	{name: "Outlook Web App", body: []string{"/owa/auth/logon.aspx"}},
	{name: "Citrix Gateway", body: []string{"/vpn/", "citrix gateway"}},
	{name: "Fortinet VPN", body: []string{"/remote/login", "fgt_lang"}},
	{name: "GlobalProtect", body: []string{"/global-protect/"}},
	{name: "Pulse Secure", body: []string{"/dana-na/"}},
	{name: "pfSense", title: "pfsense - login"},
	{name: "OPNsense", title: "login | opnsense"},
	{name: "MikroTik RouterOS", title: "routeros"},
	{name: "Ubiquiti UniFi", title: "unifi network"},
	{name: "VMware vSphere", title: "id_vc_welcome"},
	{name: "VMware ESXi", title: "\" + id_esx_welcome"},
	{name: "Proxmox VE", body: []string{"proxmox virtual environment"}},
	{name: "Synology DSM", body: []string{"synology", "syno.sds"}},
	{name: "Hikvision", body: []string{"/doc/page/login.asp"}},
	{name: "Home Assistant", title: "home assistant"},
	{name: "Pi-hole", title: "pi-hole"},
	{name: "Longhorn", title: "longhorn"},
	{name: "etcd Manager", title: "etcd manager"},
	{name: "Mongo Express", realm: "mongo express"},
	{name: "Mongo Express", title: "home - mongo express"},
	{name: "Redis Commander", title: "redis commander"},
	{name: "Elasticsearch Head", title: "elasticsearch-head"},
	{name: "Flower", title: "flower", body: []string{"celery"}},
	{name: "Hangfire", title: "hangfire dashboard"},
	{name: "Sidekiq", title: "sidekiq"},
}

// debugPages are what frameworks show a developer and no visitor should see.
var debugPages = []signature{
	{name: "django", body: []string{"you're seeing this error because you have", "debug = true"}},
	{name: "werkzeug", body: []string{"werkzeug", "debugger", "traceback (most recent call last)"}},
	{name: "laravel-ignition", body: []string{"ignition", "illuminate\\"}},
	{name: "laravel-whoops", body: []string{"whoops! there was an error"}},
	{name: "symfony", body: []string{"symfony exception"}},
	{name: "symfony", body: []string{"sf-toolbar", "sfwdt"}},
	{name: "rails", title: "action controller: exception caught"},
	{name: "rails", body: []string{"rails.root:", "application trace"}},
	{name: "asp.net", body: []string{"server error in '", "stack trace:", "version information:"}},
	{name: "asp.net-core", body: []string{"an unhandled exception occurred while processing the request"}},
	{name: "php", body: []string{"<b>fatal error</b>:", "on line <b>"}},
	{name: "php", body: []string{"<b>warning</b>:", "on line <b>"}},
	{name: "xdebug", body: []string{"xdebug-error"}},
	{name: "java", body: []string{"java.lang.", "\tat org."}},
	{name: "java", body: []string{"java.lang.", "<pre>", "at java.base/"}},
	{name: "node", body: []string{"node_modules/express/lib/router"}},
	{name: "python", body: []string{"traceback (most recent call last):", "file &quot;"}},
	{name: "go", body: []string{"goroutine 1 [running]:"}},
	{name: "coldfusion", body: []string{"the error occurred in", "coldfusion"}},
	{name: "phoenix", body: []string{"phoenix.router.noroute", "available routes"}},
}

// recognise returns the name of the first signature that fits the answer, "" if none does.
func recognise(list []signature, answer *reply, title string) string {
	title = strings.ToLower(title)
	body := bytes.ToLower(answer.body[:min(len(answer.body), maxSignature)])
	realm := ""
	if answer.status == nethttp.StatusUnauthorized {
		realm = strings.ToLower(strings.Join(answer.header.Values("Www-Authenticate"), " "))
	}
	for _, s := range list {
		if s.fits(title, body, realm) {
			return s.name
		}
	}
	return ""
}

func (s signature) fits(title string, body []byte, realm string) bool {
	if s.title != "" && !strings.HasPrefix(title, s.title) {
		return false
	}
	if s.realm != "" && !strings.Contains(realm, s.realm) {
		return false
	}
	for _, text := range s.body {
		if !bytes.Contains(body, []byte(text)) {
			return false
		}
	}
	return true
}
