// Package cloud shows the scan type cloud in the whole system: accounts whose resources are declared, read by the platform with a role that
// it proved, and judged. What has to be found is the declaration, all of it and nothing else. No test sends anything to an address or a name
// of such an account: assessments run the scan type cloud alone.
package cloud
