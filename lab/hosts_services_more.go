package lab

import (
	"io"
	"net/http"
	"strconv"
)

// moreServiceHosts are further services with faults, none of which has a name.
func moreServiceHosts() []host {
	const disclosed = "service-version-disclosed"
	return []host{
		{number: 70, servers: []server{
			{port: 5433, run: stream(postgresTrust), note: "PostgreSQL 13.4 that trusts everybody", checks: []string{"service-postgresql-unauthenticated", "service-database-cleartext", disclosed}},
			{port: 9042, run: stream(cassandraOpen), note: "Cassandra 3.11.4 without passwords", checks: []string{"service-cassandra-unauthenticated", disclosed}},
			{port: 1390, run: stream(ldapAnonymous), note: "LDAP that strangers may search", checks: []string{"service-ldap-unauthenticated", "service-ldap-cleartext"}},
			{port: 2049, run: stream(nfsServer), note: "NFS", checks: []string{"service-rpc-exposed"}},
		}},
		{number: 71, servers: []server{
			{port: 4222, run: stream(natsOpen), note: "NATS 2.9.15 without users", checks: []string{"service-nats-unauthenticated", disclosed}},
			{port: 9092, run: stream(kafkaOpen), note: "Kafka without users", checks: []string{"service-kafka-unauthenticated"}},
			{port: 6161, run: stream(activeMQ), note: "ActiveMQ 5.15.15", checks: []string{"service-broker-exposed", disclosed}},
		}},
		{number: 72, servers: []server{
			{port: 2526, run: stream(smtpRelay), note: "SMTP that relays for strangers", checks: []string{"service-smtp-open-relay", "service-smtp-no-starttls"}},
			{port: 1080, run: stream(socksOpen), note: "SOCKS for everybody", checks: []string{"service-open-proxy"}},
			{port: 3128, run: stream(proxyOpen), note: "Squid 4.6 for everybody", checks: []string{"service-open-proxy", "http-version-disclosed", disclosed}},
			{port: 5222, run: stream(xmppCleartext), note: "XMPP without TLS", checks: []string{"service-chat-cleartext"}},
			{port: 2224, run: sshReal(sshPasswords), note: "SSH with passwords", checks: []string{"service-ssh-password-login"}},
			{port: 2225, run: sshReal(sshNobody), note: "SSH that asks nobody", checks: []string{"service-ssh-unauthenticated"}},
		}},
		{number: 73, servers: []server{
			{port: 1445, run: stream(smb1File), note: "file server of old", checks: []string{"service-smb-exposed", "service-smb-v1", "service-smb-signing-optional"}},
			{port: 1723, run: stream(pptpGateway), note: "PPTP", checks: []string{"service-pptp-exposed"}},
			{port: 4786, run: stream(smartInstall), note: "Cisco Smart Install", checks: []string{"service-smart-install-exposed"}},
			{port: 2404, run: stream(iec104Station), note: "IEC 104 station", checks: []string{"service-ics-exposed"}},
			{port: 6000, run: stream(x11Open), note: "X11 for everybody", checks: []string{"service-x11-open"}},
		}},
		{number: 74, servers: []server{
			{port: 10050, run: stream(zabbixAgent), note: "Zabbix agent 5.0.2", checks: []string{"service-zabbix-agent-unauthenticated", disclosed}},
			{port: 8009, run: stream(ajpConnector), note: "AJP connector", checks: []string{"service-management-exposed"}},
			{port: 4369, run: stream(epmdNames), note: "Erlang port mapper", checks: []string{"service-management-exposed"}},
			{port: 1099, run: stream(rmiRegistry), note: "RMI registry", checks: []string{"service-rmi-exposed"}},
		}},
		{number: 75, servers: []server{
			{port: 8500, run: web(consul), note: "Consul 1.9.0", checks: []string{"service-consul-unauthenticated", disclosed}},
			{port: 4646, run: web(nomad), note: "Nomad 1.0.0", checks: []string{"service-nomad-unauthenticated", disclosed}},
			{port: 8088, run: web(yarn), note: "Hadoop YARN 2.7.3", checks: []string{"service-hadoop-yarn-unauthenticated", disclosed}},
			{port: 9870, run: web(hdfs), note: "Hadoop HDFS 2.7.3", checks: []string{"service-hdfs-unauthenticated", disclosed}},
			{port: 5000, run: web(registry), note: "registry of images", checks: []string{"service-docker-registry-unauthenticated"}},
			{port: 8983, run: web(solr), note: "Solr 8.2.0", checks: []string{"service-solr-unauthenticated", disclosed}},
			{port: 11434, run: web(ollama), note: "Ollama 0.1.30", checks: with(plainData, "service-ai-unauthenticated", disclosed)},
			{port: 8123, run: web(clickHouse), note: "ClickHouse 23.8.1", checks: with(plainData, "service-clickhouse-unauthenticated", disclosed)},
			{port: 6443, run: web(kubernetes), note: "Kubernetes 1.24 that knows everybody", checks: with(plainData, "service-kubernetes-unauthenticated", disclosed)},
			{port: 8086, run: web(influx), note: "InfluxDB 1.6.4", checks: []string{"service-influxdb-unauthenticated", disclosed}},
		}},
	}
}

// The HTTP APIs of databases and control planes, each as far as a stranger's first look goes. They have nothing at "/".
var (
	consul = jsonSite(nil, map[string]string{"/v1/agent/self": `{"Config":{"Datacenter":"dc1","NodeName":"acme-1","Version":"1.9.0"},"Member":{"Name":"acme-1"}}`})
	nomad  = jsonSite(nil, map[string]string{"/v1/agent/self": `{"config":{"Version":{"Version":"1.0.0"}},"member":{"Name":"acme-1"}}`})
	yarn   = jsonSite(nil, map[string]string{"/ws/v1/cluster/info": `{"clusterInfo":{"id":1,"state":"STARTED","hadoopVersion":"2.7.3"}}`})
	hdfs   = jsonSite(nil, map[string]string{
		"/jmx":         `{"beans":[{"name":"Hadoop:service=NameNode,name=NameNodeInfo","Version":"2.7.3, rbaa91f7c"}]}`,
		"/webhdfs/v1/": `{"FileStatuses":{"FileStatus":[{"pathSuffix":"user","type":"DIRECTORY"}]}}`,
	})
	registry = jsonSite(map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}, map[string]string{
		"/v2/": `{}`, "/v2/_catalog": `{"repositories":["acme/web"]}`,
	})
	ollama = jsonSite(nil, map[string]string{
		"/": `Ollama is running`, "/api/version": `{"version":"0.1.30"}`, "/api/tags": `{"models":[{"name":"llama3:8b"}]}`,
	})
	kubernetes = jsonSite(nil, map[string]string{
		"/": `{"paths":["/api","/apis","/version"]}`, "/version": `{"major":"1","minor":"24","gitVersion":"v1.24.17"}`,
		"/api/v1/pods": `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}`,
	})
	solr   = jsonSite(nil, map[string]string{"/solr/admin/info/system": `{"responseHeader":{"status":0},"lucene":{"solr-spec-version":"8.2.0"}}`})
	influx = jsonSite(map[string]string{"X-Influxdb-Version": "1.6.4"}, map[string]string{
		"/query": `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["_internal"]]}]}]}`,
	})
)

// clickHouse says Ok to whoever comes, and answers one query.
func clickHouse(*running, host) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/tab-separated-values; charset=UTF-8")
		w.Header().Set("X-Clickhouse-Summary", `{"read_rows":"1"}`)
		switch query := req.URL.Query().Get("query"); {
		case req.URL.Path != "/":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "There is no handle "+strconv.Quote(req.URL.Path)+"\n")
		case query == "":
			_, _ = io.WriteString(w, "Ok.\n")
		case query == "SELECT version()":
			_, _ = io.WriteString(w, "23.8.1.94\n")
		default:
			w.Header().Set("X-Clickhouse-Exception-Code", "62")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "Code: 62. DB::Exception: Syntax error\n")
		}
	})
}
