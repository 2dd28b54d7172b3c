// Command gateway is the gateway service alone, on the drivers that its build tag chooses. `gateway bootstrap` makes the
// first tenant, if there is none, and prints an API key for it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/riskprofiler/riskprofiler/platform/app"
	"github.com/riskprofiler/riskprofiler/platform/drivers"
	"github.com/riskprofiler/riskprofiler/services/gateway"
)

// firstTenant is the tenant of the first key.
const firstTenant = "default"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "bootstrap" {
		os.Exit(app.Once(os.Stderr, drivers.Default, bootstrap, gateway.Spec))
	}
	os.Exit(app.Main(os.Stderr, drivers.Default, gateway.Spec))
}

func bootstrap(ctx context.Context, host *app.Host) error {
	key, err := gateway.Bootstrap(ctx, host.Conn(gateway.Spec.Name, gateway.Spec.Name), firstTenant)
	if err != nil {
		return err
	}
	if key == "" {
		_, err = fmt.Println("there is a tenant already; its first key was shown when it was made")
		return err
	}
	_, err = fmt.Println("API key (shown this once):", key)
	return err
}
