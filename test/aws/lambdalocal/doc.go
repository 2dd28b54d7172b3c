// Package lambdalocal plays AWS Lambda on this machine: it starts real function binaries as processes, speaks the Runtime API
// and the Extensions API with them, and puts in front of them what invokes functions on AWS: Invoke itself ([Lambda.Handler]),
// the event source mapping of an SQS queue ([Poller]), an HTTP API ([HTTPAPI]) and a schedule ([Tick]).
//
// What is played as AWS documents it: one process handles one invocation at a time, is frozen between invocations
// (SIGSTOP), used again, and killed when the time of an invocation has passed; a function has at most so many instances and
// refuses further calls; payloads and answers have their limits; SIGTERM comes only to a process that registered an
// extension.
//
// What is not: memory and CPU are those of this machine, signatures are looked for and not checked, there is no network
// between the parts that could lose anything, and asynchronous Invoke is refused because nothing of ours may use it.
//
// The package ends only processes that it started, by their process ids.
package lambdalocal
