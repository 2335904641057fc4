import assert from "node:assert/strict";
import { test } from "node:test";

import { lastDescendant, sibling } from "../src/branch-switcher.js";

const message = (id, parent, role) => ({ id, parent, role });
// A first message with two replies; after the first of these two versions of a second message, each with a reply.
const TREE = [
  message("u1", null, "user"),
  message("a1", "u1", "assistant"),
  message("u2", "a1", "user"),
  message("b1", "u2", "assistant"),
  message("u3", "a1", "user"),
  message("b2", "u3", "assistant"),
  message("a2", "u1", "assistant"),
];

test("the versions of a message have its parent and role", () => {
  assert.equal(sibling(TREE, "a1", 1).id, "a2");
  assert.equal(sibling(TREE, "a2", -1).id, "a1");
  assert.equal(sibling(TREE, "u3", -1).id, "u2");
});

test("there is none beyond the first and the last", () => {
  assert.equal(sibling(TREE, "a2", 1), undefined);
  assert.equal(sibling(TREE, "u1", -1), undefined);
});

test("a branch ends with the newest message at each fork", () => {
  assert.equal(lastDescendant(TREE, TREE[0]).id, "a2");
  assert.equal(lastDescendant(TREE, TREE[1]).id, "b2");
  assert.equal(lastDescendant(TREE, TREE[2]).id, "b1");
  assert.equal(lastDescendant(TREE, TREE[6]).id, "a2");
});
