import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveEvent, State, TRANSITIONS, allows, next } from "../src/live-state.js";

// Of each event, in which states it can happen and what follows. Every other pair is refused.
const EXPECTED = {
  "started": {
    "sending": "streaming", "retrying": "streaming", "stop requested": "stopping", "streaming": "streaming", "stopping": "stopping",
  },
  "connected": {
    "sending": "sending", "retrying": "sending", "stop requested": "stop requested", "streaming": "streaming", "stopping": "stopping",
    "ended": "ended", "left": "left", "cancelled": "cancelled",
  },
  "connection lost": {
    "sending": "retrying", "retrying": "retrying", "stop requested": "cancelled", "streaming": "streaming", "stopping": "stopping",
  },
  "stop": { "sending": "stop requested", "retrying": "cancelled", "streaming": "stopping" },
  "stop failed": { "stopping": "streaming", "ended": "ended", "left": "left", "broken": "broken" },
  "ended": { "streaming": "ended", "stopping": "ended", "left": "ended", "broken": "ended" },
  "failed": {
    "sending": "refused", "retrying": "refused", "stop requested": "refused", "streaming": "broken", "stopping": "broken", "ended": "broken",
  },
  "leave": {
    "sending": "left", "retrying": "left", "stop requested": "left", "streaming": "left", "stopping": "left", "ended": "ended",
    "left": "left", "cancelled": "cancelled", "refused": "refused", "broken": "broken",
  },
};

for (const state of Object.values(State)) {
  for (const event of Object.values(LiveEvent)) {
    const after = EXPECTED[event][state];
    test(`${state}, ${event}: ${after ?? "refused"}`, () => {
      assert.equal(allows(state, event), after !== undefined);
      if (after) assert.equal(next(state, event), after);
      else assert.throws(() => next(state, event), new RegExp(`that is ${state} cannot take the event "${event}"`));
    });
  }
}

test("every state can be reached from the first two", () => {
  const reached = new Set([State.SENDING, State.STREAMING]);
  for (const state of reached) for (const after of Object.values(TRANSITIONS[state])) reached.add(after);
  assert.deepEqual([...reached].sort(), Object.values(State).sort());
});

test("nothing can be added to the states, the events and the table", () => {
  for (const table of [State, LiveEvent, TRANSITIONS, ...Object.values(TRANSITIONS)]) assert.ok(Object.isFrozen(table));
});
