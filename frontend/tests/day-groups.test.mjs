/** Conversations are grouped by the user's own days. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { groupByDay } from "../src/day-groups.js";

process.env.TZ = "America/Los_Angeles";

const NOW = new Date("2026-11-29T10:00:00-08:00");
const translations = {
  say: (/** @type {string} */ name) => name,
  month: (/** @type {Date} */ date) => `${date.getFullYear()}-${date.getMonth() + 1}`,
};

/** @param {...string} times */
function grouped(...times) {
  const conversations = times.map((time) => ({ id: time, last_activity: time }));
  // @ts-expect-error These are only the properties that it reads.
  return groupByDay(conversations, translations, NOW).map(({ label, conversations: found }) => [label, found.length]);
}

test("a day ends at the user's midnight, and not at that of UTC", () => {
  const today = "2026-11-29T08:00:00+00:00";
  const yesterday = "2026-11-29T07:59:00+00:00";

  assert.deepEqual(grouped(today, yesterday), [["today", 1], ["yesterday", 1]]);
});

test("older conversations are grouped by week, month and month of the year", () => {
  const times = ["2026-11-27T12:00Z", "2026-11-22T12:00Z", "2026-11-21T12:00Z", "2026-10-30T12:00Z", "2026-10-02T12:00Z", "2025-10-02T12:00Z"];

  assert.deepEqual(grouped(...times), [["last_week", 2], ["last_month", 2], ["2026-10", 1], ["2025-10", 1]]);
});

test("a clock that is behind the server's shows a conversation as today's", () => {
  assert.deepEqual(grouped("2026-11-30T23:00:00-08:00"), [["today", 1]]);
});
