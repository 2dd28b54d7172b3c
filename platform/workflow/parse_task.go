package workflow

import (
	"slices"
	"strings"
	"time"
)

// readTask reads a Task and checks that its Parameters are those of its resource.
func (e *entity) readTask(s *state) {
	t := &task{resource: e.need("Resource"), timeout: e.quantity("TimeoutSeconds", 1), heartbeat: e.quantity("HeartbeatSeconds", 1)}
	s.task = t
	parameters, _ := s.template.(object)
	switch t.resource {
	case resourceInvoke:
		e.parameters(parameters, []string{"FunctionName"}, []string{"Payload"})
	case resourceSend, resourceSendToken:
		e.parameters(parameters, []string{"QueueUrl", "MessageBody", "MessageGroupId", "MessageDeduplicationId"},
			[]string{"MessageAttributes"})
		e.attributes(parameters)
	default:
		e.p.fail(e.place("Resource"), "%s is outside the supported subset; %s, %s and %s are in it",
			t.resource, resourceInvoke, resourceSend, resourceSendToken)
	}
	if t.awaits() {
		e.tokenRules(s, parameters)
	} else if t.heartbeat.set {
		e.p.fail(e.at, "HeartbeatSeconds needs a resource that waits for a task token")
	}
	if t.timeout.fixed > 0 && t.heartbeat.fixed >= t.timeout.fixed {
		e.p.fail(e.place("HeartbeatSeconds"), "must be smaller than TimeoutSeconds")
	}
}

func (e *entity) parameters(got object, needed, allowed []string) {
	for _, name := range needed {
		if _, ok := got.field(name); !ok {
			e.p.fail(e.place("Parameters."+name), "is needed")
		}
	}
	for _, name := range got.names {
		if !slices.Contains(needed, name) && !slices.Contains(allowed, name) {
			e.p.fail(e.place("Parameters."+name), "is outside the supported subset here")
		}
	}
}

func (e *entity) attributes(parameters object) {
	at := e.place("Parameters.MessageAttributes")
	n, ok := parameters.field("MessageAttributes")
	if !ok {
		return
	}
	attributes, ok := n.(object)
	if !ok {
		e.p.fail(at, "must be an object in the definition")
	}
	for i, name := range attributes.names {
		attribute, _ := attributes.values[i].(object)
		kind, _ := attribute.field("DataType")
		if kind != (literal{"String"}) {
			e.p.fail(at+"."+name, "DataType must be String")
		}
		if _, ok := attribute.field("StringValue"); !ok || len(attribute.names) != 2 {
			e.p.fail(at+"."+name, "DataType and StringValue are needed, nothing else is supported")
		}
	}
}

// tokenRules guard against the ways in which a task with a token waits for ever: the token is not
// sent, there is no timeout (the default is years), or a retry within the queue's deduplication
// window carries a new token under the old deduplication id and is dropped.
func (e *entity) tokenRules(s *state, parameters object) {
	if !slices.ContainsFunc(e.p.paths, func(found *path) bool { return found.covers("Task", "Token") }) {
		e.p.fail(e.place("Parameters"), "a task that waits for a token must send $$.Task.Token")
	}
	if !s.task.timeout.set {
		e.p.fail(e.at, "a task that waits for a token needs TimeoutSeconds or TimeoutSecondsPath")
	}
	retried := slices.ContainsFunc(s.retriers, func(r retrier) bool { return r.maxAttempts > 0 })
	id, ok := parameters.field("MessageDeduplicationId")
	counted := false
	if ok {
		paths(id, func(found *path) { counted = counted || found.covers("State", "RetryCount") })
	}
	if retried && !counted {
		e.p.fail(e.place("Parameters.MessageDeduplicationId"),
			"a task that waits for a token and is retried must have $$.State.RetryCount in it, "+
				"or the queue drops the second attempt as a repeat of the first")
	}
}

func (e *entity) errorEquals(last bool) errorMatch {
	var match errorMatch
	e.into("ErrorEquals", (*[]string)(&match), "an array of strings")
	if len(match) == 0 {
		e.p.fail(e.place("ErrorEquals"), "is needed and must not be empty")
	}
	for _, name := range match {
		switch name {
		case ErrorAll:
			if !last || len(match) > 1 {
				e.p.fail(e.place("ErrorEquals"), "States.ALL must stand alone and last")
			}
		case ErrorRuntime:
			e.p.fail(e.place("ErrorEquals"), "States.Runtime is never retried or caught")
		case ErrorTimeout, ErrorHeartbeatTimeout, ErrorTaskFailed, ErrorResultPath, ErrorParameterPath,
			ErrorNoChoice, ErrorIntrinsic, ErrorDataLimit, "States.Permissions":
		default:
			if strings.HasPrefix(name, "States.") {
				e.p.fail(e.place("ErrorEquals"), "%s is no error of the supported subset", name)
			}
		}
	}
	return match
}

func (e *entity) retriers() (out []retrier) {
	list, _ := e.elements("Retry")
	for i, raw := range list {
		r := e.p.entity(e.element("Retry", i), raw)
		r.str("Comment")
		got := retrier{
			match:    r.errorEquals(i == len(list)-1),
			interval: defaultInterval * time.Second, maxAttempts: defaultMaxAttempts, backoffRate: defaultBackoffRate,
		}
		if n, ok := r.integer("IntervalSeconds", 1, maxRetrySeconds); ok {
			got.interval = time.Duration(n) * time.Second
		}
		if n, ok := r.integer("MaxDelaySeconds", 1, maxDelaySeconds-1); ok {
			got.maxDelay = time.Duration(n) * time.Second
			if got.maxDelay <= got.interval {
				e.p.fail(r.place("MaxDelaySeconds"), "must be greater than IntervalSeconds")
			}
		}
		if n, ok := r.integer("MaxAttempts", 0, maxRetrySeconds); ok {
			got.maxAttempts = n
		}
		if r.into("BackoffRate", &got.backoffRate, "a number of at least 1") && got.backoffRate < 1 {
			e.p.fail(r.place("BackoffRate"), "must be a number of at least 1")
		}
		if jitter, ok := r.str("JitterStrategy"); ok {
			if jitter != "FULL" && jitter != "NONE" {
				e.p.fail(r.place("JitterStrategy"), "must be FULL or NONE")
			}
			got.fullJitter = jitter == "FULL"
		}
		r.end()
		out = append(out, got)
	}
	return out
}

func (e *entity) catchers() (out []catcher) {
	list, _ := e.elements("Catch")
	for i, raw := range list {
		c := e.p.entity(e.element("Catch", i), raw)
		c.str("Comment")
		out = append(out, catcher{
			match:  c.errorEquals(i == len(list)-1),
			result: c.resultPath(),
			next:   c.need("Next"),
		})
		c.end()
	}
	return out
}
