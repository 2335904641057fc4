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

test("the same text keeps its client_id over a reload", () => {
  const kept = storage();
  const { clientId } = new Drafts("c", kept).save("Hello", "demo:demo");
  assert.match(clientId, /^[A-Za-z0-9_-]{1,64}$/);
  assert.equal(new Drafts("c", kept).save("Hello", "demo:demo").clientId, clientId);
});

test("another text, model or conversation has another client_id", () => {
  const kept = storage();
  const ids = [["c", "a", "m"], ["c", "b", "m"], ["c", "b", "n"], ["d", "b", "n"]].map(
    ([conversation, text, model]) => new Drafts(conversation, kept).save(text, model).clientId,
  );
  assert.equal(new Set(ids).size, 4);
});

test("an empty text is no draft", () => {
  const drafts = new Drafts("", storage());
  drafts.save("a");
  drafts.save("");
  assert.equal(drafts.load(), null);
});

test("a storage that fails costs only the draft", () => {
  const broken = () => {
    throw new Error("QuotaExceededError");
  };
  const drafts = new Drafts("c", { getItem: broken, setItem: broken, removeItem: broken });
  assert.equal(drafts.save("Hello").text, "Hello");
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
  new Drafts("c", kept).save("Hello", "", "reply-1");
  assert.equal(new Drafts("c", kept).save("Hello", "", "reply-2").parent, "reply-1");
  assert.equal(new Drafts("c", kept).save("Hello!", "", "reply-2").parent, "reply-2");
});
