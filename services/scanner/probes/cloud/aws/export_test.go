package aws

// KindsOf is for tests.
var KindsOf = kindsOf
