import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../src/markdown/blocks.js";
import { beginnings, numbers, REPLY, TEXTS } from "./corpus.mjs";

const TEXTS_OF_PAGE = { image: "[Image: {alt} {address}]", done: "Done", not_done: "Not done" };
const htmlOf = (blocks) => blocks.list.map(({ html }) => html);

function whole(text) {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update(text, true);
  return htmlOf(blocks);
}

/** Return the blocks of a text that arrived in pieces. Checks that finished blocks do not change on the way. */
function arrived(text, pieces) {
  const blocks = new Blocks(TEXTS_OF_PAGE);
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
  test(`the result does not depend on how it arrives: ${name}`, () => {
    const expected = whole(text);
    const random = numbers(text.length + 1);
    assert.deepEqual(arrived(text, beginnings(text, random, 1)), expected);
    for (let run = 0; run < 40; run += 1) assert.deepEqual(arrived(text, beginnings(text, random, 1 + run)), expected);
  });
}

test("the result of random text does not depend on how it arrives", () => {
  const random = numbers(7);
  const pieces = [..."*_`~[]()<>|-#\n1.", "\n\n", "```\n", "- a", "| a |\n|---|\n", "[a]: https://e.example\n", "    ", "> ", "text ", "**"];
  for (let run = 0; run < 1500; run += 1) {
    const text = Array.from({ length: 25 }, () => pieces[Math.floor(random.next().value * pieces.length)]).join("");
    assert.deepEqual(arrived(text, beginnings(text, random, 6)), whole(text), JSON.stringify(text));
  }
});

test("finished blocks are those of the whole text", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  for (const text of beginnings(REPLY, numbers(3), 5)) blocks.update(text, false);
  assert.deepEqual(htmlOf(blocks).slice(0, blocks.finished), whole(REPLY).slice(0, blocks.finished));
  assert.ok(blocks.finished >= blocks.list.length - 2);
});

test("a block is finished when the first line of a later one is complete", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update("1. a\n\n2", false);
  assert.equal(blocks.finished, 0);
  blocks.update("1. a\n\n2 b\n", false);
  assert.equal(blocks.finished, 1);
});

test("a closed fence is finished at once", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update("```py\na\n```", false);
  assert.equal(blocks.finished, 0);
  blocks.update("```py\na\n```\n", false);
  assert.equal(blocks.finished, 1);
});

test("open code grows by its text, and hides the beginning of its closing fence", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  const texts = ["```py\na", "```py\na\n", "```py\na\n``", "```py\na\n``b"].map((text) => {
    blocks.update(text, false);
    return blocks.list[0].open.text;
  });
  assert.deepEqual(texts, ["a", "a\n", "a\n", "a\n``b"]);
});

test("a definition applies to what follows it, and at the end to everything", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update("[a] x\n\ntext\n\n[a]: https://e.example\n\n# h\n\n[a] y", false);
  assert.match(htmlOf(blocks).at(-1), /<a href/);
  assert.deepEqual(whole("[a]\n\ntext\n\n[a]: https://e.example")[0], '<p><a href="https://e.example">a</a></p>');
});

test("another text is read from the beginning", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update("# a\n\nb\n\nc", false);
  assert.equal(blocks.update("# b\n\nb", false), 0);
  assert.deepEqual(htmlOf(blocks), ['<h1>b</h1>', '<p>b</p>']);
});

test("no row of a table is ever shown as text", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE);
  const text = "# h\n\n| a | b |\n|:--|---|\n| 1 | 2 |\n| 3 | 4 |\n\nend\n";
  for (const piece of beginnings(text, numbers(1), 1)) {
    blocks.update(piece, false);
    assert.doesNotMatch(htmlOf(blocks).join(), /\|/, piece);
  }
});

test("a formula is shown when it is complete", () => {
  const text = "a \\(x_1*y*\\) b\n$$\nc_1 \\\\\n- d\n$$\n";
  const blocks = new Blocks(TEXTS_OF_PAGE);
  for (const piece of beginnings(text, numbers(1), 1)) {
    blocks.update(piece, false);
    assert.match(htmlOf(blocks).join("").replace(/<span class="math".*?<\/span>/gs, ""), /^(?:<p>[ab ]*<\/p>)*$/, piece);
  }
});

test("the result of a long text does not depend on how it arrives", () => {
  const texts = Object.entries(TEXTS).filter(([name]) => !/definition|footnote|nobody|links/.test(name)).map(([, text]) => text);
  const text = Array.from({ length: 4 }, () => texts.join("\n\nparagraph\n\n")).join("\n\nparagraph\n\n");
  assert.deepEqual(arrived(text, beginnings(text, numbers(2), 3000)), whole(text));
  const defined = `[a] and [^1]\n\n${text}\n\n[a]: https://e.example\n[^1]: note\n`;
  assert.deepEqual(arrived(defined, beginnings(defined, numbers(2), 9000)), whole(defined));
  assert.match(whole(defined)[0], /<a href="https:\/\/e.example">a<\/a> and <sup><a/);
});
