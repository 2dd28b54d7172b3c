// Executes definitions in the Amazon States Language by aws-local-stepfunctions, an interpreter that nobody here wrote, and checks
// them by asl-validator. The test that started it does the tasks. Time is a clock of its own, which goes to the next timer when
// nothing else is left to do, so that an hour's pause between two tries takes no time and passes as an hour.
//
// One JSON text a line. In:  {"validate": DEFINITION}
//                            {"run": DEFINITION, "input": ANY, "name": NAME}
//                            {"call": N, "after": SECONDS, "result": ANY} or {"call": N, "after": SECONDS, "error": NAME, "cause": TEXT}
//                            or {"call": N, "hangs": true}
// Out: {"valid": BOOL, "why": TEXT}, {"call": N, "resource": ARN, "input": ANY}, or the end of a run:
//      {"status": S, "output": ANY, "error": NAME, "cause": TEXT, "seconds": N, "states": [NAME], "fan": a Map or Parallel failed}
//
// Run from the folder whose node_modules has the two packages. Ends when its standard input ends.
'use strict';
const path = require('node:path');
const readline = require('node:readline');

// The package says Node 22; this is all of it that Node 20 lacks.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
};

const from = (name) => require(require.resolve(name, { paths: [path.join(process.cwd(), 'node_modules')] }));
const { StateMachine } = from('aws-local-stepfunctions');
const validator = from('asl-validator');

// The clock.
const immediate = setImmediate;
const RealDate = Date;
const epoch = RealDate.UTC(2000, 0, 1); // as in a bubble of testing/synctest
let clock = 0, ids = 0;
const timers = new Map();
globalThis.setTimeout = (fn, ms = 0, ...args) => {
  const id = ++ids;
  timers.set(id, { due: clock + Math.max(0, Number(ms) || 0), fn: () => fn(...args) });
  return id;
};
globalThis.clearTimeout = (id) => { timers.delete(id); };
globalThis.Date = class extends RealDate {
  constructor(...args) { args.length ? super(...args) : super(epoch + clock); }
  static now() { return epoch + clock; }
};

function advance() {
  let first;
  for (const [id, t] of timers) if (!first || t.due < first.due) first = { id, ...t };
  if (!first) throw new Error('nothing is left to do and the execution has not ended');
  timers.delete(first.id);
  clock = Math.max(clock, first.due);
  first.fn();
}

// The tasks.
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');
let calls = 0, waker;
const open = new Map();

function call(resource, input) {
  const n = ++calls;
  const answer = new Promise((resolve) => open.set(n, resolve));
  say({ call: n, resource, input });
  return answer.then((a) => {
    if (a.hangs) return new Promise(() => {});
    return new Promise((resolve, reject) => setTimeout(() => {
      if (a.error === undefined) return resolve(a.result);
      const e = new Error(a.cause ?? '');
      e.name = a.error;
      reject(e);
    }, (a.after ?? 0) * 1000));
  });
}

function handlers(definition, into = {}) {
  for (const [name, state] of Object.entries(definition.States)) {
    if (state.Type === 'Task') into[name] = (input) => call(state.Resource, input);
    for (const inner of [state.ItemProcessor, state.Iterator, ...(state.Branches ?? [])]) if (inner) handlers(inner, into);
  }
  return into;
}

async function run({ run: definition, input, name }) {
  clock = 0;
  timers.clear();
  const states = [];
  let fan = false, end;
  const execution = new StateMachine(definition, { validationOptions: { noValidate: true } }).run(input, {
    overrides: { taskResourceLocalHandlers: handlers(definition) },
    context: { Execution: { Name: name }, State: { RetryCount: 0 }, Task: { Token: 'token' }, StateMachine: {} },
  });
  (async () => {
    for await (const event of execution.eventLogs) {
      if (event.type === 'StateEntered') states.push(event.state.name);
      if (event.type === 'StateFailed' && /^(Map|Parallel)$/.test(event.state.type)) fan = true;
    }
  })();
  execution.result.then(
    (output) => { end = { status: 'SUCCEEDED', output: output === undefined ? null : output }; },
    (error) => {
      const late = error.name === 'ExecutionTimeoutError';
      const cause = error.cause ?? error;
      end = late ? { status: 'TIMED_OUT', error: 'States.Timeout' } : { status: 'FAILED', error: cause.name, cause: cause.message };
    });
  for (;;) {
    await new Promise((done) => immediate(done)); // everything that can be done now is done
    if (end) break;
    if (open.size > 0) await new Promise((done) => { waker = done; });
    else advance();
  }
  await new Promise((done) => immediate(done));
  say({ ...end, seconds: clock / 1000, states, fan });
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line);
  if (message.call !== undefined) {
    const answer = open.get(message.call);
    open.delete(message.call);
    answer(message);
    if (open.size === 0 && waker) { waker(); waker = undefined; }
  } else if (message.validate !== undefined) {
    const { isValid, errorsText } = (validator.default ?? validator)(message.validate);
    say({ valid: isValid, why: isValid ? '' : errorsText('; ') });
  } else {
    run(message).catch((e) => { say({ status: 'BROKEN', cause: String(e.stack) }); });
  }
}).on('close', () => process.exit(0));
