import assert from "node:assert/strict";
import { test } from "node:test";

import { ConnectionLost, ConnectionWatch, readEvents, wait } from "../src/connection.js";

const STREAM = 'retry: 1000\nid: m/1\nevent: start\ndata: {"text":""}\n\n:\nid: m/6\ndata: {"text":"Grüße"}\n\ndata: [DONE]\n\n';
const EVENTS = [
  { event: "start", data: '{"text":""}', id: "m/1" },
  { event: "message", data: '{"text":"Grüße"}', id: "m/6" },
  { event: "message", data: "[DONE]", id: "" },
];

/** Return a response whose body comes in these pieces, and then ends, or stays open. */
function response(pieces, { open = false } = {}) {
  const start = (controller) => {
    for (const piece of pieces) controller.enqueue(piece);
    if (!open) controller.close();
  };
  return new Response(new ReadableStream({ start }));
}

async function all(stream, silence = 5) {
  const events = [];
  const watch = new ConnectionWatch(silence);
  try {
    for await (const event of readEvents(stream, watch)) events.push(event);
  } finally {
    watch.close();
  }
  return events;
}

test("a stream cut anywhere, also inside a character, gives the same events", async () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    assert.deepEqual(await all(response([bytes.slice(0, cut), bytes.slice(cut)])), EVENTS);
  }
});

test("a block without its blank line is no event", async () => {
  assert.deepEqual(await all(response([new TextEncoder().encode("data: half\n")])), []);
});

test("a connection that is silent for too long is lost", async () => {
  await assert.rejects(all(response([new TextEncoder().encode(STREAM)], { open: true }), 0.05), ConnectionLost);
});

test("a network that is back ends a wait and a connection", async () => {
  const target = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  const waiting = wait(3600, new AbortController().signal);
  const reading = assert.rejects(all(response([], { open: true }), 3600), ConnectionLost);
  target.dispatchEvent(new Event("online"));
  await Promise.all([waiting, reading]);
});

test("an aborted wait throws the reason", async () => {
  const abort = new AbortController();
  const reason = new Error("left");
  const waiting = assert.rejects(wait(3600, abort.signal), reason);
  abort.abort(reason);
  await waiting;
});

test("an aborted signal lets no wait begin", async () => {
  const reason = new Error("left");
  await assert.rejects(wait(3600, AbortSignal.abort(reason)), reason);
});

test("a request without an answer is lost", async () => {
  const watch = new ConnectionWatch(0.05);
  await assert.rejects(watch.guard(new Promise(() => {})), (error) => error instanceof ConnectionLost && !error.isBack);
  watch.close();
});
