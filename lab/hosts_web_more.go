package lab

// Ports of the servers below: beside those that the other web servers use.
const (
	portMoreWeb    = 8088
	portMoreWebTLS = 8445
)

// moreWebHosts are products that stand open, and an application whose protections are written wrong.
func moreWebHosts() []host {
	return []host{
		{number: 34, name: "blog.acme.test", servers: []server{
			{port: portMoreWeb, run: web(blog.site), note: "WordPress with its log in the web root", checks: with(plainPage,
				"http-cms-login", "http-users-listed", "http-log-exposed")},
		}},
		{number: 35, name: "ops.acme.test", servers: []server{
			{port: portMoreWeb, run: web(operations.site), note: "tools of a team without a login", checks: with(plainPage,
				"http-console-open", "http-monitoring-open", "http-metrics-exposed", "http-repository-open", "http-profiler-exposed", "http-installer-open")},
		}},
		{number: 36, name: "gate.acme.test", servers: []server{
			{port: portMoreWebTLS, run: webTLS(tlsServer{}, gateway), note: "firewall with its management and VPN", checks: with(privateCA,
				"http-device-panel", "http-remote-portal")},
		}},
		{number: 37, name: "members.acme.test", servers: []server{
			{port: portMoreWebTLS, run: webTLS(tlsServer{}, members), note: "application whose protections are written wrong", checks: with(privateCA,
				"http-cors-weak-origin-check", "http-password-in-url", "http-mixed-content-passive", "http-cookie-rejected", "http-cookie-broad-domain",
				"http-session-cacheable", "http-webdav-enabled", "http-sri-missing", "http-protection-ineffective", "http-security-txt-invalid")},
		}},
	}
}
