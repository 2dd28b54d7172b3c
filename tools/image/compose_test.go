package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

const composeDir = "../../deploy/compose"

// meshServices are the services of the mesh.
var meshServices = []string{"correlator", "gateway", "ingest", "reporter", "scanner", "scheduler"}

// load reads the compose file as `docker compose config` does: schema, interpolation, references.
func load(t testing.TB) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{filepath.Join(composeDir, "compose.yaml")}, cli.WithEnv([]string{}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompose: the file is one that engines take, and each service in it has no more than it needs.
func TestCompose(t *testing.T) {
	p := load(t)
	for name, s := range p.Services {
		ours := s.User == "65532:65532"
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged || len(s.CapAdd) > 0 || s.Pid != "" || s.Ipc != "" {
			t.Errorf("%s may do more than it needs: %+v", name, s)
		}
		if !ours && slices.Contains(append(slices.Clone(meshServices), "certs", "setup"), name) || ours && !s.ReadOnly {
			t.Errorf("%s runs as %q, read only %v", name, s.User, s.ReadOnly)
		}
		for _, v := range s.Volumes {
			if strings.Contains(v.Source, "docker.sock") || v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s reaches the host: %+v", name, v)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" || name != "gateway" {
				t.Errorf("%s is published at %q", name, port.HostIP)
			}
		}
	}
	if !p.Networks["mesh"].Internal {
		t.Error("the mesh has a way out")
	}
	for _, name := range meshServices {
		s := p.Services[name]
		if s.HealthCheck == nil || !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/" + name, "health"}) {
			t.Errorf("%s: health %+v", name, s.HealthCheck)
		}
		if len(s.Volumes) != 1 || s.Volumes[0].Volume == nil || s.Volumes[0].Volume.Subpath != name || !s.Volumes[0].ReadOnly {
			t.Errorf("%s sees certificates of others: %+v", name, s.Volumes)
		}
		for _, network := range s.NetworksByPriority() {
			if network != "mesh" && (name != "scanner" || network != "outside") && (name != "gateway" || network != "edge") {
				t.Errorf("%s is in network %s", name, network)
			}
		}
		for _, peer := range meshServices {
			if peers := s.Environment["RISKPROFILER_PEERS"]; peers == nil || !strings.Contains(","+*peers+",", ","+peer+"="+peer+":9000,") {
				t.Errorf("%s does not know %s", name, peer)
			}
		}
	}
}

// taskDefinition is what is checked of one in ecs.yaml.
type taskDefinition struct {
	Properties struct {
		Family               any
		TaskRoleArn          any
		NetworkMode          string
		ContainerDefinitions []struct {
			Name                   string
			User                   string
			ReadonlyRootFilesystem bool
			Privileged             bool
			HealthCheck            struct{ Command []string }
			LinuxParameters        struct {
				Capabilities struct{ Drop, Add []string }
			}
			LogConfiguration struct{ LogDriver string }
			Secrets          []struct{ Name string }
			Environment      []struct{ Name string }
			StopTimeout      int
		}
	}
}

// TestECS: one task definition for each service, each hardened, with its secrets as secrets and a role of its own.
func TestECS(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(composeDir, "ecs.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Over JSON: a reference such as !Ref becomes its text, which is all that is asked for.
	var loose map[string]any
	if err := yaml.Unmarshal(data, &loose); err != nil {
		t.Fatal(err)
	}
	strict, err := json.Marshal(loose["Resources"])
	if err != nil {
		t.Fatal(err)
	}
	resources := map[string]struct{ Type string }{}
	definitions := map[string]taskDefinition{}
	if err := json.Unmarshal(strict, &resources); err != nil {
		t.Fatal(err)
	}
	var found, roles []string
	for name, r := range resources {
		if r.Type != "AWS::ECS::TaskDefinition" {
			continue
		}
		if len(definitions) == 0 {
			if err := json.Unmarshal(strict, &definitions); err != nil {
				t.Fatal(err)
			}
		}
		d := definitions[name]
		role, err := json.Marshal(d.Properties.TaskRoleArn)
		if err != nil {
			t.Fatal(err)
		}
		roles = append(roles, string(role))
		if len(d.Properties.ContainerDefinitions) != 1 || d.Properties.NetworkMode != "awsvpc" {
			t.Errorf("%s: %+v", name, d)
			continue
		}
		c := d.Properties.ContainerDefinitions[0]
		found = append(found, c.Name)
		var secrets []string
		for _, s := range c.Secrets {
			secrets = append(secrets, s.Name)
		}
		for _, e := range c.Environment {
			if strings.HasPrefix(e.Name, "RISKPROFILER_TLS_") {
				t.Errorf("%s: %s is no secret", name, e.Name)
			}
		}
		for what, ok := range map[string]bool{
			"user":                    c.User == "65532:65532",
			"read-only root":          c.ReadonlyRootFilesystem && !c.Privileged,
			"no capabilities":         slices.Equal(c.LinuxParameters.Capabilities.Drop, []string{"ALL"}) && len(c.LinuxParameters.Capabilities.Add) == 0,
			"probe":                   slices.Equal(c.HealthCheck.Command, []string{"CMD", "/" + c.Name, "health"}),
			"log driver":              c.LogConfiguration.LogDriver == "awslogs",
			"certificate as a secret": slices.Equal(secrets, []string{"RISKPROFILER_TLS_CERT", "RISKPROFILER_TLS_KEY", "RISKPROFILER_TLS_CA"}),
			"time to drain":           c.StopTimeout >= 35,
		} {
			if !ok {
				t.Errorf("%s: %s: %+v", name, what, c)
			}
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, meshServices) {
		t.Errorf("tasks for %v", found)
	}
	slices.Sort(roles)
	if len(slices.Compact(roles)) != len(meshServices) {
		t.Errorf("services share a role: %v", roles)
	}
}
