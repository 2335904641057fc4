import assert from "node:assert/strict";
import { test } from "node:test";

import { ReplyContent } from "../src/reply-content.js";

const SOURCE = { url: "https://e.example", title: "E", id: "", text: "", origin: "provider" };
const EVENTS = [
  { event: "start", data: { text: "" }, id: "m/1" },
  { event: "reasoning", data: { text: "", reasoning: "Hm." }, id: "m/4" },
  { event: "message", data: { text: "Hello" }, id: "m/9" },
  { event: "tool_call", data: { text: "", tool_call: { name: "look", arguments: "{}" } }, id: "m/10" },
  { event: "source", data: { text: "", source: SOURCE }, id: "m/11" },
  { event: "done", data: { text: "" }, id: "m/end" },
];

test("events add up, and the ending keeps the position", () => {
  const content = new ReplyContent();
  for (const event of EVENTS) content.add(event);
  assert.deepEqual({ ...content }, {
    text: "Hello",
    reasoning: "Hm.",
    tools: [{ name: "look", arguments: "{}" }],
    sources: [SOURCE],
    position: 11,
  });
});

test("a continuation takes over the text and the reasoning", () => {
  const content = new ReplyContent();
  for (const event of EVENTS) content.add(event);
  const { text, reasoning, tools, sources, position } = content.textOnly();
  assert.deepEqual({ text, reasoning, tools, sources, position }, { text: "Hello", reasoning: "Hm.", tools: [], sources: [], position: 9 });
});

test("a message of the API has the same content", () => {
  const parts = [
    { kind: "reasoning", text: "Hm" },
    { kind: "reasoning", text: "." },
    { kind: "text", text: "Hello" },
    { kind: "tool_call", name: "look", arguments: "{}" },
    { kind: "source", ...SOURCE },
    { kind: "unknown" },
  ];
  const content = ReplyContent.of({ text: "Hello", parts, position: 10 });
  assert.equal(content.text, "Hello");
  assert.equal(content.reasoning, "Hm.");
  assert.deepEqual(content.tools, [parts[3]]);
  assert.deepEqual(content.sources, [parts[4]]);
  assert.equal(content.position, 10);
});

test("white space is no answer", () => {
  assert.ok(ReplyContent.of({ text: " \n", parts: [], position: 3 }).isEmpty);
  assert.ok(!ReplyContent.of({ text: ".", parts: [], position: 2 }).isBlank);
});

test("a reply of reasoning alone is empty", () => {
  const content = new ReplyContent();
  for (const event of EVENTS.slice(0, 2)) content.add(event);
  assert.ok(content.isEmpty);
});
