import assert from "node:assert/strict";
import { test } from "node:test";

import { Splitter } from "../../streaming_chat/static/streaming_chat/sse.js";

const STREAM = 'retry: 1000\nid: m/1\nevent: start\ndata: {"text":""}\n\n:\nid: m/6\ndata: {"text":"Hello"}\n\ndata: [DONE]\n\n';
const EVENTS = [
  { event: "start", data: '{"text":""}', id: "m/1" },
  { event: "message", data: '{"text":"Hello"}', id: "m/6" },
  { event: "message", data: "[DONE]", id: "m/6" },
];

function feed(...pieces) {
  const splitter = new Splitter();
  return pieces.flatMap((piece) => splitter.feed(piece));
}

test("a stream cut anywhere gives the same events", () => {
  for (const breaks of ["\n", "\r\n"]) {
    const stream = STREAM.replaceAll("\n", breaks);
    for (let cut = 0; cut <= stream.length; cut += 1) {
      assert.deepEqual(feed(stream.slice(0, cut), stream.slice(cut)), EVENTS);
    }
    assert.deepEqual(feed(...stream), EVENTS);
  }
});

test("lines of data are joined, and one space after the colon is dropped", () => {
  assert.deepEqual(feed("data:  a\ndata:b\ndata\n\n"), [{ event: "message", data: " a\nb\n", id: "" }]);
});

test("what is not ended by a blank line is no event", () => {
  assert.deepEqual(feed("data: half\n"), []);
});

test("a block without data is no event, and its name does not stay", () => {
  assert.deepEqual(feed("event: start\n\ndata: x\n\n"), [{ event: "message", data: "x", id: "" }]);
});

test("U+2028 ends no line", () => {
  assert.deepEqual(feed("data: a\u2028b\n\n"), [{ event: "message", data: "a\u2028b", id: "" }]);
});
