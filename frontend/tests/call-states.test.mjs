import assert from "node:assert/strict";
import { test } from "node:test";

import { isWaiting, shownCalls } from "../src/call-states.js";
import { ReplyContent } from "../src/reply-content.js";

const STEP = { kind: "step", number: 1 };
const call = (id, more = {}) => ({ kind: "tool_call", id, name: "pay", arguments: "{}", complete: true, ...more });
const result = (id, status) => ({ kind: "tool_result", id, status, output: "", ms: 0 });
const approval = (...ids) => ({ kind: "approval", calls: ids.map((id) => ({ id, runs: "server", editable: false })), expires: "" });

function statesOf(parts, { isLive = true, answers = [] } = {}) {
  return shownCalls(ReplyContent.of({ text: "", parts, answers, position: 1 }), isLive).map(({ state }) => state);
}

test("a call runs until its result is there, which says how it ended", () => {
  assert.deepEqual(statesOf([STEP, call("a")]), ["running"]);
  for (const status of ["ok", "error", "denied", "cancelled", "unknown"]) {
    assert.deepEqual(statesOf([STEP, call("a"), result("a", status)]), [status]);
    assert.deepEqual(statesOf([STEP, call("a"), result("a", status)], { isLive: false }), [status]);
  }
});

test("a call of a client's tool is requested, and one that the provider runs has no state", () => {
  assert.deepEqual(statesOf([call("a")], { isLive: false }), ["requested"]);
  assert.deepEqual(statesOf([STEP, call("a", { runs: "provider" })]), [""]);
});

test("a reply waits until every call that it asks about is answered", () => {
  const parts = [STEP, call("a"), call("b"), call("c"), approval("a", "c"), result("b", "ok")];
  assert.deepEqual(statesOf(parts), ["waiting", "ok", "waiting"]);
  const answers = [{ call: "a", approved: true }];
  assert.deepEqual(statesOf(parts, { answers }), ["approved", "ok", "waiting"]);
  answers.push({ call: "c", approved: false });
  assert.deepEqual(statesOf(parts, { answers }), ["approved", "ok", "denied"]);
  assert.ok(isWaiting(shownCalls(ReplyContent.of({ text: "", parts, position: 1 }), true)));
  assert.ok(!isWaiting(shownCalls(ReplyContent.of({ text: "", parts, answers, position: 1 }), true)));
});

test("nothing waits once the reply has ended", () => {
  assert.ok(!isWaiting(shownCalls(ReplyContent.of({ text: "", parts: [STEP, call("a"), approval("a")], position: 1 }), false)));
});

test("an id that is the name of a method is an id", () => {
  assert.deepEqual(statesOf([STEP, call("constructor"), call("__proto__"), result("__proto__", "ok")]), ["running", "ok"]);
});
