// Package cloud is the leg of the whole-system scenario that runs the Lambda binaries: every function of the six services as
// it is deployed, each in processes of its own under package lambdalocal, with tables, queues and buckets on a server that
// stands in for AWS, and the state machine under package statesapi. It also measures how fast the binaries start.
//
// The list of functions follows from the services' Specs by the rules that deployment has: one function for each service and
// one for each scan type.
package cloud
