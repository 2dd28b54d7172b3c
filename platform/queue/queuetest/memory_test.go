package queuetest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/riskprofiler/riskprofiler/platform/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queuetest.Harness {
		return queuetest.Harness{Queue: queuetest.NewMemory().Queue}
	})
}
