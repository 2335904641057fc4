import assert from "node:assert/strict";
import { test } from "node:test";

import { Drafts, keepText, takeKeptText } from "../src/drafts.js";

function storage() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
}

const CHOICE = { model: "demo:demo", effort: "low" };

test("the same text keeps its client_id over a reload", () => {
  const kept = storage();
  const { clientId } = new Drafts("c", kept).save("Hello", CHOICE);
  assert.match(clientId, /^[A-Za-z0-9_-]{1,64}$/);
  assert.equal(new Drafts("c", kept).save("Hello", CHOICE).clientId, clientId);
});

test("another text, model, effort or conversation has another client_id", () => {
  const kept = storage();
  const ids = [["c", "a", "m", ""], ["c", "b", "m", ""], ["c", "b", "n", ""], ["c", "b", "n", "low"], ["d", "b", "n", "low"]].map(
    ([conversation, text, model, effort]) => new Drafts(conversation, kept).save(text, { model, effort }).clientId,
  );
  assert.equal(new Set(ids).size, 5);
});

test("an empty text is no draft", () => {
  const drafts = new Drafts("", storage());
  drafts.save("a", CHOICE);
  drafts.save("", CHOICE);
  assert.equal(drafts.load(), null);
});

test("a storage that fails costs only the draft", () => {
  const broken = () => {
    throw new Error("QuotaExceededError");
  };
  const drafts = new Drafts("c", { getItem: broken, setItem: broken, removeItem: broken });
  assert.equal(drafts.save("Hello", CHOICE).text, "Hello");
  assert.equal(drafts.load(), null);
});

test("a text is kept over the sign-in, once and for its own chat", () => {
  const kept = storage();
  keepText("/chat/", "Hello", kept);
  assert.equal(takeKeptText("/other/", kept), "");
  assert.equal(takeKeptText("/chat/", kept), "Hello");
  assert.equal(takeKeptText("/chat/", kept), "");
});

test("a sent text keeps the reply after which it was sent", () => {
  const kept = storage();
  new Drafts("c", kept).save("Hello", CHOICE, "reply-1");
  assert.equal(new Drafts("c", kept).save("Hello", CHOICE, "reply-2").parent, "reply-1");
  assert.equal(new Drafts("c", kept).save("Hello!", CHOICE, "reply-2").parent, "reply-2");
});
