import assert from "node:assert/strict";
import { test } from "node:test";

import { Translations } from "../src/translations.js";

const translations = new Translations(
  { "completed.stop": "", "completed.length": "Cut off.", "failed.empty": "Empty.", failed: "Failed.", interrupted: "Broken." },
  "en",
);

test("an ending is looked up by the error's code, or else by its reason", () => {
  assert.equal(translations.outcome({ status: "completed", end_reason: "length" }), "Cut off.");
  assert.equal(translations.outcome({ status: "failed", end_reason: "", error: { code: "empty", message: "?" } }), "Empty.");
});

test("most replies have no sentence", () => {
  assert.equal(translations.outcome({ status: "completed", end_reason: "stop", error: null }), "");
});

test("an unknown error has its own words, and an unknown reason those of the status", () => {
  assert.equal(translations.outcome({ status: "failed", error: { code: "of a newer version", message: "New." } }), "New.");
  assert.equal(translations.outcome({ status: "interrupted", end_reason: "new", error: null }), "Broken.");
  assert.equal(translations.outcome({ status: "completed", end_reason: "new" }), "");
});
