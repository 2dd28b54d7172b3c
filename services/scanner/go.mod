module github.com/riskprofiler/riskprofiler/services/scanner

go 1.26.0

require (
	github.com/riskprofiler/riskprofiler/gen v0.0.0
	github.com/riskprofiler/riskprofiler/platform v0.0.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/projectdiscovery/wappalyzergo v0.2.91 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace (
	github.com/riskprofiler/riskprofiler/gen => ../../gen
	github.com/riskprofiler/riskprofiler/platform => ../../platform
)
