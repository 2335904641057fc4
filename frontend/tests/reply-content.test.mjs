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
    results: new Map(),
    asked: new Map(),
    answers: new Map(),
    mayAnswer: undefined,
    hasSteps: false,
    sources: [SOURCE],
    latest: "done",
    position: 11,
  });
});

test("whether the user may answer is kept when the stream starts over", () => {
  const content = ReplyContent.of({ text: "", position: 1, answers: [], may_answer: false });
  content.add({ event: "reset", data: {}, id: "" });
  content.noteAnswers([]);
  assert.equal(content.mayAnswer, false);
  content.noteAnswers([], true);
  assert.equal(content.mayAnswer, true);
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

test("what tools of the site bring is the same from the stream and from the API", () => {
  const parts = [
    { kind: "step", number: 1 },
    { kind: "text", text: "😀" },
    { kind: "tool_call", id: "a", name: "pay", arguments: "{}", complete: true },
    { kind: "approval", calls: [{ id: "a", runs: "server", editable: true }], expires: "2026-12-01T00:00:00Z" },
    { kind: "tool_result", id: "a", status: "ok", output: "paid", ms: 3 },
    { kind: "step", number: 2 },
  ];
  const streamed = new ReplyContent();
  streamed.add({ event: "start", data: { text: "" }, id: "m/1" });
  parts.forEach(({ kind, ...part }, index) => {
    const event = kind === "text" ? { event: "message", data: part } : { event: kind, data: { text: "", [kind]: part } };
    streamed.add({ ...event, id: `m/${index + 2}` });
  });
  const loaded = ReplyContent.of({ text: "😀", parts, position: 7 });

  assert.ok(streamed.hasSteps && streamed.isAfterTool);
  assert.equal(streamed.results.get("a").output, "paid");
  assert.equal(streamed.asked.get("a").editable, true);
  assert.equal(streamed.position, loaded.position);
  assert.deepEqual([...streamed.asked.keys(), ...streamed.results.keys()], [...loaded.asked.keys(), ...loaded.results.keys()]);
  assert.deepEqual({ ...streamed.textOnly() }, { ...new ReplyContent(), text: "😀", position: 2 });
});

test("a reset forgets calls, results and answers", () => {
  const content = ReplyContent.of({ text: "", parts: [{ kind: "tool_result", id: "a", status: "ok", output: "", ms: 0 }], position: 2 });
  content.noteAnswers([{ call: "a", approved: true }]);
  content.add({ event: "reset", data: { text: "" }, id: "m/0" });

  assert.deepEqual([content.results.size, content.answers.size], [0, 0]);
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
