import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../src/markdown/blocks.js";
import { beginnings, numbers, REPLY, TEXTS } from "./corpus.mjs";

const IMAGE = "[Image: {alt} {address}]";
const htmlOf = (blocks) => blocks.list.map(({ html }) => html);

function whole(text) {
  const blocks = new Blocks(IMAGE);
  blocks.update(text, true);
  return htmlOf(blocks);
}

/** Return the blocks of a text that came in pieces. Checks on the way that what is finished stays as it is. */
function arrived(text, pieces) {
  const blocks = new Blocks(IMAGE);
  for (const piece of pieces) {
    const before = htmlOf(blocks).slice(0, blocks.finished);
    const first = blocks.update(piece, false);
    assert.equal(first, before.length);
    assert.deepEqual(htmlOf(blocks).slice(0, first), before);
  }
  blocks.update(text, true);
  return htmlOf(blocks);
}

for (const [name, text] of Object.entries(TEXTS)) {
  test(`however it arrives, it ends the same: ${name}`, () => {
    const expected = whole(text);
    const random = numbers(text.length + 1);
    assert.deepEqual(arrived(text, beginnings(text, random, 1)), expected);
    for (let run = 0; run < 40; run += 1) assert.deepEqual(arrived(text, beginnings(text, random, 1 + run)), expected);
  });
}

test("any mixture of pieces ends the same", () => {
  const random = numbers(7);
  const pieces = [..."*_`~[]()<>|-#\n1.", "\n\n", "```\n", "- a", "| a |\n|---|\n", "[a]: https://e.example\n", "    ", "> ", "text ", "**"];
  for (let run = 0; run < 1500; run += 1) {
    const text = Array.from({ length: 25 }, () => pieces[Math.floor(random.next().value * pieces.length)]).join("");
    assert.deepEqual(arrived(text, beginnings(text, random, 6)), whole(text), JSON.stringify(text));
  }
});

test("without its end, the same is shown as far as it is finished", () => {
  const blocks = new Blocks(IMAGE);
  for (const text of beginnings(REPLY, numbers(3), 5)) blocks.update(text, false);
  assert.deepEqual(htmlOf(blocks).slice(0, blocks.finished), whole(REPLY).slice(0, blocks.finished));
  assert.ok(blocks.finished >= blocks.list.length - 2);
});

test("a block is finished when a later one's first line is whole", () => {
  const blocks = new Blocks(IMAGE);
  blocks.update("1. a\n\n2", false);
  assert.equal(blocks.finished, 0);
  blocks.update("1. a\n\n2 b\n", false);
  assert.equal(blocks.finished, 1);
});

test("a fence that is closed is finished at once", () => {
  const blocks = new Blocks(IMAGE);
  blocks.update("```py\na\n```", false);
  assert.equal(blocks.finished, 0);
  blocks.update("```py\na\n```\n", false);
  assert.equal(blocks.finished, 1);
});

test("code grows by its text alone, and hides the fence that is on its way", () => {
  const blocks = new Blocks(IMAGE);
  const texts = ["```py\na", "```py\na\n", "```py\na\n``", "```py\na\n``b"].map((text) => {
    blocks.update(text, false);
    return blocks.list[0].open.text;
  });
  assert.deepEqual(texts, ["a", "a\n", "a\n", "a\n``b"]);
});

test("definitions are known to what comes after them, and at the end to all", () => {
  const blocks = new Blocks(IMAGE);
  blocks.update("[a] x\n\ntext\n\n[a]: https://e.example\n\n# h\n\n[a] y", false);
  assert.match(htmlOf(blocks).at(-1), /<a href/);
  assert.deepEqual(whole("[a]\n\ntext\n\n[a]: https://e.example")[0], '<p dir="auto"><a href="https://e.example">a</a></p>');
});

test("another text is read anew", () => {
  const blocks = new Blocks(IMAGE);
  blocks.update("# a\n\nb\n\nc", false);
  assert.equal(blocks.update("# b\n\nb", false), 0);
  assert.deepEqual(htmlOf(blocks), ['<h1 dir="auto">b</h1>', '<p dir="auto">b</p>']);
});
