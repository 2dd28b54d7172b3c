// Package workflow runs durable workflows that are written in the Amazon States Language, a subset of
// it that AWS Step Functions runs from the same file (https://states-language.net/spec.html).
//
// # What is promised
//
// An execution that Start accepted goes on until it ends, over any number of crashes. Every step that
// was done has a record in the table, under the execution, the path of the state and how often it was
// visited and tried; after a crash the execution runs again from its start against the records. So:
//
//   - A step with a record is not done again. One that was being done may be: tasks bear repetition.
//   - A task that waits for a token waits for the same token. Its message is sent again, with the
//     same dedup id and token, only if the crash fell between the record and the mark that it was sent.
//   - Waits, timeouts and pauses between retries end when they would have ended. Heartbeats alone
//     count anew from the restart: while no runner was there to see one, none was missed.
//   - An execution keeps the definition that it began with.
//   - Of several runners on one table the newest works; every write of an older one fails.
//
// # The subset
//
// Task, Map (inline), Parallel, Choice, Wait, Pass, Succeed and Fail; Retry and Catch; the query
// language JSONPath with InputPath, Parameters, ResultSelector, ResultPath, OutputPath and the Context
// Object; the intrinsic functions States.Format, Array, ArrayLength, StringToJson, JsonToString and
// MathAdd. Paths are names, indexes and wildcards. [Parse] refuses everything else with its place and
// the reason, also what is legal but waits for ever on AWS: a task that waits for a token without
// TimeoutSeconds, or whose retry would be dropped as a repeat by a FIFO queue.
//
// Retry on a Map or Parallel with such tasks inside has the same trap and cannot be checked: carry
// $$.State.RetryCount of the outer state into the dedup ids by ItemSelector.
//
// Task resources and what they become here:
//
//	arn:aws:states:::lambda:invoke                     RunnerOptions.Invoke; the result is {"Payload": ..., "StatusCode": 200}
//	arn:aws:states:::sqs:sendMessage                   RunnerOptions.Send; the result is {}, AWS gives ids that no definition should read
//	arn:aws:states:::sqs:sendMessage.waitForTaskToken  RunnerOptions.Send, then what Complete or Fail says
//
// FunctionName and QueueUrl are usually placeholders ${Name}, see [Substitute]. Errors of tasks have
// the names that [ErrorName] gives.
//
// # Differences from Step Functions
//
// $$.Execution.Id is "machine:name" and no ARN. A name that was used stays the same run whatever the
// input, also after its end. A path in a payload template that finds nothing is
// States.ParameterPathFailure, as the States Language has it; AWS may report States.Runtime, so no
// definition should rely on catching it. Everything that is read from an input is bounded by
// [MaxDataBytes], an execution by [RunnerOptions.MaxEvents].
//
// # Access to the table
//
// The package has a table of its own and reads it by key, by the partition of one execution, by the
// partition of events, and by the sparse index of executions that are not cleared away. When an
// execution has ended its records are deleted; what it came to is kept for 90 days.
//
// What the package refuses: JSONata and variables, activities, distributed maps, a history of steps
// (traces are that), and schedules.
package workflow
