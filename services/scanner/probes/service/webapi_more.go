package service

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// onPort says whether the API may be asked at all: those whose "/" says nothing of them are asked on their own ports only.
func onPort(t *talk, ports ...uint16) bool {
	for _, port := range ports {
		if t.prober.port == port {
			return true
		}
	}
	return false
}

// ask gets a path and reads an object; nil where the answer is none, or not 200.
func (t *talk) object(path string) map[string]any {
	a, err := t.fetch("GET", path, nil)
	if err != nil || a.status != http.StatusOK {
		return nil
	}
	return fields(a.body)
}

// moreWebAPIs are further databases and control planes that speak HTTP. Each read is a GET of a version or a list of names.
var moreWebAPIs = []webAPI{
	{"http-proxy", isProxy, lookProxy},
	{"ipp", func(_ *talk, root answer) bool { return strings.Contains(root.header.Get("Server"), "IPP/") }, lookIPP},
	{"winrm", isWinRM, lookWinRM},
	{"consul", func(t *talk, root answer) bool {
		return root.header.Get("X-Consul-Default-Acl-Policy") != "" || onPort(t, 8500, 8501)
	}, lookConsul},
	{"vault", func(t *talk, _ answer) bool { return onPort(t, 8200) }, lookVault},
	{"nomad", func(t *talk, _ answer) bool { return onPort(t, 4646) }, lookNomad},
	{"clickhouse", func(_ *talk, root answer) bool {
		return root.header.Get("X-Clickhouse-Summary") != "" || string(root.body) == "Ok.\n"
	}, lookClickHouse},
	{"docker-registry", func(t *talk, root answer) bool {
		return root.header.Get("Docker-Distribution-Api-Version") != "" || onPort(t, 5000, 5001)
	}, lookRegistry},
	{"hadoop-yarn", func(t *talk, _ answer) bool { return onPort(t, 8088, 8090) }, lookYARN},
	{"hdfs", func(t *talk, _ answer) bool { return onPort(t, 9870, 50070) }, lookHDFS},
	{"solr", func(t *talk, _ answer) bool { return onPort(t, 8983) }, lookSolr},
	{"ollama", func(_ *talk, root answer) bool { return strings.HasPrefix(string(root.body), "Ollama is running") }, lookOllama},
	{"qdrant", func(_ *talk, root answer) bool {
		return strings.HasPrefix(textAt(fields(root.body), "title"), "qdrant")
	}, lookQdrant},
	{"weaviate", func(t *talk, root answer) bool {
		return bytes.Contains(root.body, []byte("weaviate")) || onPort(t, 8080) && root.status == http.StatusMovedPermanently
	}, lookWeaviate},
	{"chromadb", func(t *talk, _ answer) bool { return onPort(t, 8000) }, lookChroma},
}

// lookIPP: the server of the printing system names itself and its version.
func lookIPP(_ *talk, root answer, fact *modelv1.ServiceFact) bool {
	nameProduct(fact, root.header.Get("Server"), []product{{"cups/", "CUPS", "openprinting", "cups", "cups/"}})
	return true
}

func isWinRM(t *talk, root answer) bool {
	return onPort(t, 5985, 5986, 47001) && strings.HasPrefix(root.header.Get("Server"), "Microsoft-HTTPAPI")
}

func lookWinRM(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/wsman", nil)
	if err != nil || a.status != http.StatusMethodNotAllowed && a.status != http.StatusUnauthorized {
		return false
	}
	setProduct(fact, "Windows Remote Management", "", "", "")
	setSystem(fact, "Windows")
	return true
}

// lookConsul: an agent without access control shows its own configuration.
func lookConsul(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/v1/agent/self", nil)
	if err != nil {
		return false
	}
	if a.status == http.StatusForbidden && bytes.Contains(a.body, []byte("ermission denied")) {
		setProduct(fact, "HashiCorp Consul", "hashicorp", "consul", "")
		return true
	}
	version := textAt(fields(a.body), "Config", "Version")
	if a.status != http.StatusOK || version == "" {
		return false
	}
	setProduct(fact, "HashiCorp Consul", "hashicorp", "consul", version)
	proven(fact, "GET /v1/agent/self: 200, node "+textAt(fields(a.body), "Config", "NodeName"))
	return true
}

// lookVault: health is shown to everybody on purpose, so it proves nothing.
func lookVault(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/v1/sys/health?standbyok=true&sealedcode=200&uninitcode=200", nil)
	object := fields(a.body)
	if _, known := object["sealed"].(bool); err != nil || !known {
		return false
	}
	setProduct(fact, "HashiCorp Vault", "hashicorp", "vault", textAt(object, "version"))
	initialised, _ := object["initialized"].(bool)
	detail(fact, "vault.initialized", strconv.FormatBool(initialised))
	return true
}

func lookNomad(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/v1/agent/self", nil)
	if err != nil {
		return false
	}
	object := fields(a.body)
	version := textAt(object, "config", "Version", "Version")
	if a.status == http.StatusForbidden && bytes.Contains(a.body, []byte("Permission denied")) {
		setProduct(fact, "HashiCorp Nomad", "hashicorp", "nomad", "")
		return true
	}
	if a.status != http.StatusOK || version == "" {
		return false
	}
	setProduct(fact, "HashiCorp Nomad", "hashicorp", "nomad", version)
	proven(fact, "GET /v1/agent/self: 200, version "+version)
	return true
}

// lookClickHouse: a query over GET reads only, by the server's own rule.
func lookClickHouse(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/?query=SELECT%20version()", nil)
	if err != nil {
		return false
	}
	version := versionAfter("v"+strings.ToLower(strings.TrimSpace(string(a.body[:min(len(a.body), 64)]))), "v")
	switch {
	case a.status == http.StatusOK && version != "":
		setProduct(fact, "ClickHouse", "clickhouse", "clickhouse", version)
		proven(fact, "SELECT version(): "+version)
		return true
	case a.header.Get("X-Clickhouse-Exception-Code") != "" || bytes.Contains(a.body, []byte("DB::Exception")):
		setProduct(fact, "ClickHouse", "clickhouse", "clickhouse", "")
		return true
	}
	return false
}

// lookRegistry: the list of images.
func lookRegistry(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	base, err := t.fetch("GET", "/v2/", nil)
	if err != nil || base.header.Get("Docker-Distribution-Api-Version") == "" {
		return false
	}
	setProduct(fact, "Docker Registry", "", "", "")
	list := t.object("/v2/_catalog?n=5")
	if images, ok := list["repositories"].([]any); ok {
		proven(fact, "GET /v2/_catalog: 200 with "+strconv.Itoa(len(images))+" of the images")
	}
	return true
}

// lookYARN: the manager that shows its cluster also takes jobs from whoever it shows it to.
func lookYARN(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	info := t.object("/ws/v1/cluster/info")
	version := textAt(info, "clusterInfo", "hadoopVersion")
	if version == "" {
		return false
	}
	setProduct(fact, "Apache Hadoop YARN", "apache", "hadoop", version)
	proven(fact, "GET /ws/v1/cluster/info: 200, state "+textAt(info, "clusterInfo", "state"))
	return true
}

func lookHDFS(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	beans, _ := t.object("/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo")["beans"].([]any)
	if len(beans) == 0 {
		return false
	}
	bean, _ := beans[0].(map[string]any)
	version, _, _ := strings.Cut(textAt(bean, "Version"), ",")
	setProduct(fact, "Apache Hadoop HDFS", "apache", "hadoop", version)
	list := t.object("/webhdfs/v1/?op=LISTSTATUS&user.name=" + sshUser)
	if _, listed := list["FileStatuses"]; listed {
		proven(fact, "GET /webhdfs/v1/?op=LISTSTATUS: 200 with a listing")
	}
	return true
}

func lookSolr(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	a, err := t.fetch("GET", "/solr/admin/info/system?wt=json", nil)
	if err != nil {
		return false
	}
	version := textAt(fields(a.body), "lucene", "solr-spec-version")
	if a.status == http.StatusUnauthorized && strings.Contains(a.header.Get("Www-Authenticate"), "solr") {
		setProduct(fact, "Apache Solr", "apache", "solr", "")
		return true
	}
	if version == "" {
		return false
	}
	setProduct(fact, "Apache Solr", "apache", "solr", version)
	proven(fact, "GET /solr/admin/info/system: 200, version "+version)
	return true
}

func lookOllama(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Ollama", "ollama", "ollama", textAt(t.object("/api/version"), "version"))
	if models, ok := t.object("/api/tags")["models"].([]any); ok {
		proven(fact, "GET /api/tags: 200 with "+strconv.Itoa(len(models))+" models")
	}
	return true
}

func lookQdrant(t *talk, root answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Qdrant", "qdrant", "qdrant", textAt(fields(root.body), "version"))
	result, _ := t.object("/collections")["result"].(map[string]any)
	if collections, ok := result["collections"].([]any); ok {
		proven(fact, "GET /collections: 200 with "+strconv.Itoa(len(collections))+" names")
	}
	return true
}

func lookWeaviate(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	meta := t.object("/v1/meta")
	version := textAt(meta, "version")
	if _, known := meta["modules"]; !known || version == "" {
		return false
	}
	setProduct(fact, "Weaviate", "weaviate", "weaviate", version)
	if _, listed := t.object("/v1/schema")["classes"].([]any); listed {
		proven(fact, "GET /v1/schema: 200 with the classes")
	}
	return true
}

func lookChroma(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	beat := t.object("/api/v2/heartbeat")
	path := "/api/v2"
	if beat == nil {
		beat, path = t.object("/api/v1/heartbeat"), "/api/v1"
	}
	if _, known := beat["nanosecond heartbeat"]; !known {
		return false
	}
	setProduct(fact, "Chroma", "trychroma", "chroma", "")
	if a, err := t.fetch("GET", path+"/version", nil); err == nil && a.status == http.StatusOK {
		var version string
		if json.Unmarshal(a.body, &version) == nil {
			setProduct(fact, "Chroma", "trychroma", "chroma", version)
			proven(fact, "GET "+path+"/version: 200, "+version)
		}
	}
	return true
}

// lookInfluxDB asks for the names of the databases, which version 1 gives to everybody unless told otherwise.
func lookInfluxDB(t *talk, root answer, fact *modelv1.ServiceFact) bool {
	version := strings.TrimPrefix(root.header.Get("X-Influxdb-Version"), "v")
	setProduct(fact, "InfluxDB", "influxdata", "influxdb", version)
	if list, listed := t.object("/query?q=SHOW%20DATABASES")["results"].([]any); listed && len(list) > 0 {
		if first, _ := list[0].(map[string]any); first["error"] == nil {
			proven(fact, "GET /query of SHOW DATABASES: 200")
		}
	}
	return true
}
