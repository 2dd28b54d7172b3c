package service

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	modelv1 "github.com/riskprofiler/riskprofiler/gen/riskprofiler/model/v1"
)

// webAPI is a database or control plane that speaks HTTP. is tells it by its answer to "/"; look asks for more, by GET of
// what changes nothing (etcd's read is a POST by its own choice), and says whether it is the one after all.
type webAPI struct {
	name string
	is   func(t *talk, root answer) bool
	look func(t *talk, root answer, fact *modelv1.ServiceFact) bool
}

// webAPIs are asked in this order.
var webAPIs = []webAPI{
	{"elasticsearch", isElasticsearch, lookElasticsearch},
	{"couchdb", func(_ *talk, root answer) bool { return textAt(fields(root.body), "couchdb") == "Welcome" }, lookCouchDB},
	{"influxdb", func(_ *talk, root answer) bool { return root.header.Get("X-Influxdb-Version") != "" }, lookInfluxDB},
	{"neo4j", func(_ *talk, root answer) bool { return textAt(fields(root.body), "neo4j_version") != "" }, lookNeo4j},
	{"docker", isDocker, lookDocker},
	{"kubernetes", isKubernetes, lookKubernetes},
	{"kubelet", isKubelet, lookKubelet},
	{"etcd", isEtcd, lookEtcd},
}

func isElasticsearch(_ *talk, root answer) bool {
	if root.header.Get("X-Elastic-Product") != "" {
		return true
	}
	object := fields(root.body)
	if textAt(object, "version", "lucene_version") != "" || textAt(object, "version", "distribution") == "opensearch" {
		return true
	}
	refused := root.status == http.StatusUnauthorized || root.status == http.StatusForbidden
	return refused && strings.Contains(root.header.Get("Www-Authenticate"), `realm="security"`)
}

// lookElasticsearch: the name of the cluster, shown to nobody in particular, is the proof.
func lookElasticsearch(_ *talk, root answer, fact *modelv1.ServiceFact) bool {
	object := fields(root.body)
	version := textAt(object, "version", "number")
	if textAt(object, "version", "distribution") == "opensearch" {
		setProduct(fact, "OpenSearch", "amazon", "opensearch", version)
	} else {
		setProduct(fact, "Elasticsearch", "elastic", "elasticsearch", version)
	}
	cluster := textAt(object, "cluster_name")
	detail(fact, "elasticsearch.cluster", cluster)
	if root.status == http.StatusOK && cluster != "" {
		proven(fact, "GET /: 200 with cluster_name "+cluster)
	}
	return true
}

func lookCouchDB(t *talk, root answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Apache CouchDB", "apache", "couchdb", textAt(fields(root.body), "version"))
	databases, err := t.fetch("GET", "/_all_dbs", nil)
	var names []string
	if err == nil && databases.status == http.StatusOK && json.Unmarshal(databases.body, &names) == nil {
		proven(fact, "GET /_all_dbs: 200 with "+strconv.Itoa(len(names))+" names")
	}
	return true
}

func lookNeo4j(_ *talk, root answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Neo4j", "neo4j", "neo4j", textAt(fields(root.body), "neo4j_version"))
	return true
}

// isDocker: the engine says so in a header of every answer, also of "page not found".
func isDocker(t *talk, root answer) bool {
	if root.header.Get("Api-Version") != "" && (root.header.Get("Ostype") != "" || strings.HasPrefix(root.header.Get("Server"), "Docker/")) {
		return true
	}
	return (t.prober.port == 2375 || t.prober.port == 2376) && textAt(fields(root.body), "message") == "page not found"
}

func lookDocker(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Docker Engine", "docker", "docker", "")
	version, err := t.fetch("GET", "/version", nil)
	object := fields(version.body)
	api := textAt(object, "ApiVersion")
	if err != nil || version.status != http.StatusOK || api == "" {
		return true
	}
	setProduct(fact, "Docker Engine", "docker", "docker", textAt(object, "Version"))
	detail(fact, "docker.os", textAt(object, "Os")+" "+textAt(object, "KernelVersion"))
	proven(fact, "GET /version: 200 with ApiVersion "+api)
	return true
}

// isKubernetes: the API server refuses strangers with a Status object.
func isKubernetes(_ *talk, root answer) bool {
	object := fields(root.body)
	if textAt(object, "kind") == "Status" && textAt(object, "apiVersion") == "v1" {
		return true
	}
	paths, _ := object["paths"].([]any)
	return slices.Contains(paths, any("/apis"))
}

func lookKubernetes(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Kubernetes API server", "kubernetes", "kubernetes", "")
	version, err := t.fetch("GET", "/version", nil)
	if err == nil && version.status == http.StatusOK {
		number := strings.TrimPrefix(textAt(fields(version.body), "gitVersion"), "v")
		setProduct(fact, "Kubernetes API server", "kubernetes", "kubernetes", number)
	}
	// The version is shown to everybody; the pods are not, unless somebody meant it too well with strangers.
	if pods, err := t.fetch("GET", "/api/v1/pods?limit=1", nil); err == nil && pods.status == http.StatusOK &&
		bytes.Contains(pods.body[:min(len(pods.body), 512)], []byte(`"PodList"`)) {
		proven(fact, "GET /api/v1/pods: 200 with a PodList")
	}
	return true
}

// isKubelet: it answers "/" like any Go server; its port and its words tell.
func isKubelet(t *talk, root answer) bool {
	return (t.prober.port == 10250 || t.prober.port == 10255) &&
		(root.status == http.StatusNotFound || root.status == http.StatusUnauthorized || root.status == http.StatusForbidden)
}

func lookKubelet(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	setProduct(fact, "Kubernetes kubelet", "kubernetes", "kubernetes", "")
	pods, err := t.fetch("GET", "/pods", nil)
	// The list may be longer than what is read: its beginning is enough.
	if err == nil && pods.status == http.StatusOK && bytes.Contains(pods.body[:min(len(pods.body), 512)], []byte(`"PodList"`)) {
		proven(fact, "GET /pods: 200 with a PodList")
	}
	return true
}

func isEtcd(t *talk, root answer) bool {
	if t.prober.port != 2379 && t.prober.port != 2380 && t.prober.port != 4001 {
		return false
	}
	return root.status == http.StatusNotFound
}

// lookEtcd reads the version, which is shown to all, and then asks for a key that nobody has: where users are needed, even
// that is refused.
func lookEtcd(t *talk, _ answer, fact *modelv1.ServiceFact) bool {
	version, err := t.fetch("GET", "/version", nil)
	number := textAt(fields(version.body), "etcdserver")
	if err != nil || number == "" {
		return false
	}
	setProduct(fact, "etcd", "etcd", "etcd", number)
	// The key is "riskprofiler", in base64; the answer has no value, as there is no such key.
	read, err := t.fetch("POST", "/v3/kv/range", []byte(`{"key":"cmlza3Byb2ZpbGVy","limit":"1","keys_only":true}`))
	if cluster := textAt(fields(read.body), "header", "cluster_id"); err == nil && read.status == http.StatusOK && cluster != "" {
		proven(fact, "POST /v3/kv/range of one key: 200 with cluster_id "+cluster)
		return true
	}
	keys, err := t.fetch("GET", "/v2/keys/riskprofiler", nil)
	if err == nil && keys.header.Get("X-Etcd-Cluster-Id") != "" && fields(keys.body)["errorCode"] == 100.0 { // key not found
		proven(fact, "GET /v2/keys of one key: "+strconv.Itoa(keys.status)+", not found")
	}
	return true
}
