import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError } from "../src/api.js";
import { delay, followEvents, isTemporary } from "../src/event-stream.js";

const START = 'id: m/1\nevent: start\ndata: {"text":"","message":"m"}\n\n';
const HALF = 'id: m/4\ndata: {"text":"abc"}\n\n';
const REST = 'id: m/6\ndata: {"text":"de"}\n\nid: m/end\nevent: done\ndata: {"text":"","length":5}\n\ndata: [DONE]\n\n';

/** Follow a reply whose requests get these answers: texts of streams, responses, errors to throw, or null. Return what happened. */
async function run({ sends = null, resumes = [], silence = 5 }) {
  const asked = [];
  const changes = [];
  const answer = (next) => {
    if (next instanceof Error) throw next;
    return next === null || next instanceof Response ? next : new Response(next);
  };
  const send = sends && (async () => asked.push("send") && answer(sends.shift()));
  const resume = async (lastId) => asked.push(lastId) && answer(resumes.shift());
  const events = [];
  const connectionChanged = (error) => changes.push(error);
  const options = { send, resume, signal: new AbortController().signal, connectionChanged, silence };
  for await (const event of followEvents(options)) events.push(event);
  return { events, asked, changes, text: events.map(({ data }) => data.text).join("") };
}

test("a reply is followed to its ending", async () => {
  const { asked, text, events } = await run({ sends: [START + HALF + REST] });
  assert.deepEqual(asked, ["send"]);
  assert.equal(text, "abcde");
  assert.equal(events.at(-1).event, "done");
});

test("a cut stream continues after its last id", async () => {
  const { asked, text } = await run({ sends: [START + HALF + 'id: m/5\ndata: {"te'], resumes: [REST] });
  assert.deepEqual(asked, ["send", "m/4"]);
  assert.equal(text, "abcde");
});

test("a request without an answer is sent again", async () => {
  const { asked, text, changes } = await run({ sends: [new TypeError("network"), START + HALF + REST] });
  assert.deepEqual(asked, ["send", "send"]);
  assert.equal(text, "abcde");
  assert.equal(changes.length, 2);
});

test("a refused request ends it", async () => {
  const refusal = new ApiError(409, { code: "reply_in_progress", message: "busy" });
  await assert.rejects(run({ sends: [refusal] }), refusal);
});

test("a 204 ends it without an ending", async () => {
  const { events } = await run({ resumes: [null] });
  assert.deepEqual(events, []);
});

test("a silent connection counts as lost", async () => {
  const silent = new Response(new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(START + HALF)) }));
  const { asked, text } = await run({ sends: [silent], resumes: [REST], silence: 0.05 });
  assert.deepEqual(asked, ["send", "m/4"]);
  assert.equal(text, "abcde");
});

test("a network that is back is tried at once, after any number of failures", async () => {
  const target = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  const times = [];
  // The first three requests get no answer; each time the network comes back.
  const resume = (lastId, signal) => {
    times.push(performance.now());
    if (times.length === 4) return Promise.resolve(new Response(REST));
    setImmediate(() => target.dispatchEvent(new Event("online")));
    return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const events = [];
  const options = { send: null, resume, signal: new AbortController().signal, connectionChanged: () => {}, silence: 5 };
  for await (const event of followEvents(options)) events.push(event);
  assert.equal(events.at(-1).event, "done");
  assert.equal(times.length, 4);
  // Without the network's return each pause is 1 s or longer.
  assert.ok(times.at(-1) - times[0] < 1000);
});

test("a pause is as long as the server asks, else between 1 and 30 seconds", () => {
  assert.equal(delay(new ApiError(503, { code: "draining", message: "" }, 7), 0, () => 0), 7);
  for (let failures = 0; failures < 40; failures += 1) {
    for (const random of [0, 0.99]) {
      const seconds = delay(null, failures, () => random);
      assert.ok(seconds >= 1 && seconds <= 30);
    }
  }
  assert.notEqual(delay(null, 1, () => 0), delay(null, 1, () => 0.5));
});

test("a temporary error is tried again", () => {
  const refusal = (status) => new ApiError(status, { code: "", message: "" });
  assert.ok(isTemporary(new TypeError("network"), true));
  assert.ok(isTemporary(refusal(503), true));
  assert.ok(isTemporary(refusal(429), false));
  assert.ok(!isTemporary(refusal(429), true));
  assert.ok(!isTemporary(refusal(404), false));
});
