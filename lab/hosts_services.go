package lab

// serviceHosts are other services with faults; all but the mail server have no name.
func serviceHosts() []host {
	return []host{
		{number: 15, name: "mail.acme.test", seed: seedNone, servers: []server{
			{port: 2525, run: smtp(nil), note: "SMTP without STARTTLS", checks: []string{"service-smtp-no-starttls"}},
			{port: 1143, run: stream(imapCleartext), note: "IMAP without TLS", checks: []string{"service-mail-cleartext"}},
			{port: 1110, run: stream(pop3Cleartext), note: "POP3 without TLS", checks: []string{"service-mail-cleartext"}},
		}},
		{number: 60, servers: []server{
			{port: 6379, run: stream(redis(false)), note: "Redis 5 without password", checks: []string{"service-redis-unauthenticated", "service-version-disclosed"}},
			{port: 11211, run: stream(memcachedOpen), note: "memcached 1.5.6", checks: []string{"service-memcached-unauthenticated", "service-version-disclosed"}},
		}},
		{number: 61, servers: []server{
			{port: 2121, run: stream(ftpAnonymous), note: "anonymous FTP, vsFTPd 3.0.2", checks: []string{"service-ftp-anonymous", "service-ftp-cleartext", "service-version-disclosed"}},
			{port: 8873, run: stream(rsyncOpen), note: "rsync that lists its modules", checks: []string{"service-rsync-open"}},
		}},
		{number: 62, servers: []server{
			{port: 2222, run: stream(sshWeak("SSH-2.0-OpenSSH_7.2p2 Ubuntu-4ubuntu2.8")), note: "OpenSSH 7.2 with weak algorithms", checks: []string{
				"service-ssh-outdated", "service-ssh-weak-algorithms", "service-version-disclosed",
			}},
			{port: 2223, run: stream(sshWeak("SSH-1.99-OpenSSH_3.9p1")), note: "OpenSSH 3.9 that still speaks protocol 1", checks: []string{
				"service-ssh-protocol-1", "service-ssh-outdated", "service-ssh-weak-algorithms", "service-version-disclosed",
			}},
		}},
		{number: 63, servers: []server{
			{port: 3306, run: stream(mysql), note: "MySQL 5.7.29", checks: []string{"service-database-exposed", "service-database-cleartext", "service-version-disclosed"}},
			{port: 5432, run: stream(postgres), note: "PostgreSQL", checks: []string{"service-database-exposed", "service-database-cleartext"}},
			{port: 27017, run: stream(mongoOpen), note: "MongoDB 3.6.8 without authentication", checks: []string{"service-mongodb-unauthenticated", "service-version-disclosed"}},
		}},
		{number: 64, servers: []server{
			{port: 9200, run: web(elasticsearch), note: "Elasticsearch 6.8.0", checks: with(plainData, "service-elasticsearch-unauthenticated", "service-version-disclosed")},
			{port: 5984, run: web(couchDB), note: "CouchDB 2.1.0", checks: with(plainData,
				"http-version-disclosed", "service-couchdb-unauthenticated", "service-version-disclosed")},
		}},
		{number: 65, servers: []server{
			{port: 2375, run: web(docker), note: "Docker 18.09.1 without TLS", checks: []string{"service-docker-unauthenticated", "service-version-disclosed"}},
			{port: 2379, run: web(etcd), note: "etcd 3.3.8", checks: []string{"service-etcd-unauthenticated", "service-version-disclosed"}},
			{port: 2181, run: stream(zookeeperOpen), note: "ZooKeeper 3.4.6", checks: []string{"service-zookeeper-unauthenticated", "service-version-disclosed"}},
			{port: 5005, run: stream(jdwpOpen), note: "Java debugger", checks: []string{"service-jdwp-exposed"}},
			{port: 10250, run: webTLS(tlsServer{}, kubelet), note: "kubelet without authentication", checks: with(privateCA, "service-kubelet-unauthenticated")},
		}},
		{number: 66, servers: []server{
			{port: 1883, run: stream(mqttOpen), note: "MQTT without authentication", checks: []string{"service-mqtt-unauthenticated"}},
			{port: 5900, run: stream(vncOpen), note: "VNC without authentication", checks: []string{"service-vnc-unauthenticated"}},
			{port: 3389, run: stream(rdpOpen), note: "Remote Desktop", checks: []string{"service-remote-desktop-exposed", "service-rdp-no-nla"}},
			{port: 1389, run: stream(ldapOpen), note: "LDAP without TLS", checks: []string{"service-ldap-cleartext"}},
		}},
		{number: 67, servers: []server{
			{port: 9999, run: stream(silent), note: "says nothing"},
		}},
		{number: 68, servers: manyPorts()},
		{number: 69, seed: seedPort, servers: []server{
			{port: 6380, run: stream(redis(true)), note: "Redis with a password", checks: []string{"service-database-exposed"}},
		}},
	}
}

// Ports of the host with many: one more than an ordinary host may have.
const (
	firstOfMany = 20000
	manyOpen    = 26
)

// manyPorts each greet at once, so that looking at all of them costs little.
func manyPorts() []server {
	var servers []server
	for i := range manyOpen {
		s := server{port: firstOfMany + i, run: stream(sshStrong("SSH-2.0-Bastion")), note: "SSH without a version"}
		if i == 0 {
			s.checks, s.note = []string{"port-many-open"}, "26 open ports"
		}
		servers = append(servers, s)
	}
	return servers
}

// elasticsearch answers as version 6 without security does.
var elasticsearch = jsonSite(nil, map[string]string{
	"/": `{"name":"node-1","cluster_name":"acme","cluster_uuid":"bGFiLWxhYi1sYWItbGFiLQ","version":{"number":"6.8.0",` +
		`"build_flavor":"default","build_type":"tar","lucene_version":"7.7.0"},"tagline":"You Know, for Search"}`,
	"/_cluster/health": `{"cluster_name":"acme","status":"green","timed_out":false,"number_of_nodes":1}`,
	"/_cat/indices":    `[{"health":"green","status":"open","index":"customers","docs.count":"42"}]`,
	"/_nodes":          `{"cluster_name":"acme","nodes":{"a":{"name":"node-1","version":"6.8.0"}}}`,
})

// couchDB answers as version 2 in its "admin party" does.
var couchDB = jsonSite(map[string]string{"Server": "CouchDB/2.1.0 (Erlang OTP/17)"}, map[string]string{
	"/":         `{"couchdb":"Welcome","version":"2.1.0","features":["scheduler"],"vendor":{"name":"The Apache Software Foundation"}}`,
	"/_all_dbs": `["_replicator","_users","customers"]`,
})

// docker answers as its remote API without TLS does; it has nothing at "/".
var docker = jsonSite(map[string]string{"Api-Version": "1.39", "Ostype": "linux"}, map[string]string{
	"/_ping":           `OK`,
	"/version":         `{"Platform":{"Name":"Docker Engine - Community"},"Version":"18.09.1","ApiVersion":"1.39","MinAPIVersion":"1.12","GoVersion":"go1.10.6","Os":"linux","Arch":"amd64"}`,
	"/info":            `{"ID":"LAB0","Containers":1,"ContainersRunning":1,"Images":2,"Driver":"overlay2","ServerVersion":"18.09.1"}`,
	"/containers/json": `[{"Id":"4b825dc642cb","Names":["/web"],"Image":"acme/web:1.2","State":"running"}]`,
})

// etcd answers in its second and third API; it has nothing at "/".
var etcd = jsonSite(nil, map[string]string{
	"/version":     `{"etcdserver":"3.3.8","etcdcluster":"3.3.0"}`,
	"/health":      `{"health":"true"}`,
	"/v2/keys":     `{"action":"get","node":{"dir":true,"nodes":[{"key":"/registry","dir":true,"modifiedIndex":4,"createdIndex":4}]}}`,
	"/v2/keys/":    `{"action":"get","node":{"dir":true,"nodes":[{"key":"/registry","dir":true,"modifiedIndex":4,"createdIndex":4}]}}`,
	"/v3/kv/range": `{"header":{"cluster_id":"1","member_id":"1","revision":"4","raft_term":"2"},"count":"0"}`,
})

// farmHosts are n ordinary targets, numbered from 1.
func farmHosts(n int) []host {
	hosts := make([]host, 0, n)
	for i := range n {
		h := host{number: i + 1, servers: []server{
			{port: 2222, run: stream(sshStrong("SSH-2.0-OpenSSH_10.0")), note: "OpenSSH 10.0", checks: []string{"service-version-disclosed"}},
			{port: 8080, run: web(hardenedPlain), note: "web server without TLS", checks: []string{"http-cleartext"}},
		}}
		if i%2 == 1 {
			h.servers = append(h.servers, server{port: 2525, run: smtp(nil), note: "SMTP without STARTTLS", checks: []string{"service-smtp-no-starttls"}})
		}
		hosts = append(hosts, h)
	}
	return hosts
}
