package secret_test

import (
	"testing"

	"github.com/riskprofiler/riskprofiler/platform/secret"
	"github.com/riskprofiler/riskprofiler/platform/secret/secrettest"
)

func TestMemory(t *testing.T) {
	secrettest.Run(t, func(*testing.T) secret.Store { return &secret.Memory{} })
}
