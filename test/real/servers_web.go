//go:build realservers

package real

import (
	"fmt"
	"testing"
)

func nginx() kind {
	return kind{
		pkg: "nginx",
		ports: []Port{
			{Number: 80, Service: "http", Product: "nginx"},
			{Number: 443, TLS: true, Service: "http", Product: "nginx"},
		},
		start: func(t testing.TB, s *Server) {
			root := File(t, s.Dir, "www/index.html", "<!doctype html><title>real</title><p>nginx</p>\n")
			config := File(t, s.Dir, "nginx.conf", fmt.Sprintf(`
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s:80;
		listen %[2]s:443 ssl http2;
		ssl_certificate %[3]s;
		ssl_certificate_key %[4]s;
		root %[1]s/www;
	}
}
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			_ = root
			Run(t, s.Dir, s.listens(), "nginx", "-c", config, "-e", s.Dir+"/early.log")
		},
	}
}

func apache() kind {
	return kind{
		pkg: "apache2",
		ports: []Port{
			{Number: 80, Service: "http", Product: "Apache HTTP Server"},
			{Number: 443, TLS: true, Service: "http", Product: "Apache HTTP Server"},
		},
		start: func(t testing.TB, s *Server) {
			File(t, s.Dir, "www/index.html", "<!doctype html><title>real</title><p>Apache</p>\n")
			config := File(t, s.Dir, "apache.conf", fmt.Sprintf(`
ServerRoot %[1]s
ServerName real.test
PidFile %[1]s/apache.pid
Mutex file:%[1]s default
ErrorLog %[1]s/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
TypesConfig /etc/mime.types
User www-data
Group www-data
Listen %[2]s:80
Listen %[2]s:443
DocumentRoot %[1]s/www
<Directory %[1]s/www>
	Require all granted
</Directory>
<VirtualHost %[2]s:443>
	SSLEngine on
	SSLCertificateFile %[3]s
	SSLCertificateKeyFile %[4]s
</VirtualHost>
`, s.Dir, s.Address, s.Certificate.CertFile, s.Certificate.KeyFile))
			Run(t, s.Dir, s.listens(), "apache2", "-D", "FOREGROUND", "-f", config)
		},
	}
}

func squid() kind {
	return kind{
		pkg:   "squid",
		ports: []Port{{Number: 3128, Service: "http-proxy", Product: "Squid"}},
		start: func(t testing.TB, s *Server) {
			Do(t, "chown", "proxy", s.Dir)
			config := File(t, s.Dir, "squid.conf", fmt.Sprintf(`
http_port %[2]s:3128
http_access deny all
cache deny all
pid_filename none
access_log none
cache_log %[1]s/cache.log
cache_store_log none
coredump_dir %[1]s
visible_hostname real.test
shutdown_lifetime 0 seconds
`, s.Dir, s.Address))
			Run(t, s.Dir, s.listens(), "squid", "-N", "-f", config)
		},
	}
}
