// Package gen holds what is generated from the contracts in proto/: messages, clients, servers and the REST gateway. Nothing
// in its sub-packages is written by hand.
package gen

import _ "embed" // the OpenAPI document

// OpenAPI describes the REST interface (OpenAPI 2.0, JSON), generated from the contracts.
//
//go:embed openapi/riskprofiler.swagger.json
var OpenAPI []byte
