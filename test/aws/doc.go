// Package cloud is the legs of the whole-system scenario that run the binaries of the cloud on servers that stand in for AWS.
//
// One runs the Lambda binaries: every function of the six services as it is deployed, each in processes of its own under package
// lambdalocal, with tables, queues and buckets on a stand-in, and the state machine under package statesapi. It also measures how
// fast the binaries start. The other runs the binaries of the images: one process for each service, with mutual TLS between them,
// and the state machine in the scheduler.
//
// The list of functions follows from the services' Specs by the rules that deployment has: one function for each service and
// one for each scan type.
package cloud
