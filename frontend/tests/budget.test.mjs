import assert from "node:assert/strict";
import { test } from "node:test";

import { Blocks } from "../src/markdown/blocks.js";
import { degenerate, NAMES } from "./degenerate.mjs";

const TEXTS_OF_PAGE = { image: "[Image: {alt} {address}]", done: "Done", not_done: "Not done" };
// The clock is read once for so many steps.
const STEPS_PER_LOOK = 256;

/** Return how many steps it takes to read a text, with as much time as that needs. */
function stepsOf(text) {
  let looks = 0;
  const blocks = new Blocks(TEXTS_OF_PAGE, () => {
    looks += 1;
    return 0;
  });
  blocks.allowMore();
  blocks.update(text, true);
  return looks * STEPS_PER_LOOK;
}

/** Return a clock of which each look takes a millisecond. */
function slowClock() {
  const clock = () => (clock.looks += 1);
  clock.looks = 0;
  return clock;
}

const plainOf = ({ list }) => list.filter(({ isPlain }) => isPlain).map(({ raw }) => raw);

for (const name of NAMES) {
  test(`the steps grow as the text does: ${name}`, () => {
    const [small, large] = [8_192, 32_768].map((size) => stepsOf(degenerate(name, size)));
    assert.ok(large < 5 * small + 20 * STEPS_PER_LOOK, `${small} steps, and ${large} for a text that is four times as long`);
  });
}

test("a text that takes too long is plain text from the block on that does", () => {
  const slow = "*a _b ".repeat(20_000);
  const blocks = new Blocks(TEXTS_OF_PAGE, slowClock());
  blocks.update(`# fast\n\n${slow}\n\n# after`, true);
  assert.equal(blocks.list[0].html, "<h1>fast</h1>");
  assert.deepEqual(plainOf(blocks), [`${slow}\n\n# after`]);
  assert.equal(blocks.list.length, 2);
});

test("what is plain text is not read again while it grows", () => {
  const clock = slowClock();
  const blocks = new Blocks(TEXTS_OF_PAGE, clock);
  let text = "*a _b ".repeat(20_000);
  blocks.update(text, false);
  const { looks } = clock;
  for (let delta = 0; delta < 50; delta += 1) blocks.update((text += "and so on "), false);
  assert.equal(clock.looks, looks);
  assert.deepEqual(plainOf(blocks), [text]);
});

test("a text with too many elements is plain text from the block on that has them", () => {
  const blocks = new Blocks(TEXTS_OF_PAGE, () => 0);
  const text = "a\n\n".repeat(20_000);
  blocks.update(text, true);
  const formatted = blocks.list.length - 1;
  assert.ok(formatted > 4_000 && formatted < 10_000, `${formatted} elements`);
  assert.deepEqual(plainOf(blocks), [text.slice(3 * formatted)]);
});

test("a long paragraph is plain text unless it is in Latin script", () => {
  const words = { Arabic: "كلمة ", Japanese: "言葉", Latin: "word " };
  const plain = Object.entries(words).filter(([, word]) => {
    const blocks = new Blocks(TEXTS_OF_PAGE, () => 0);
    blocks.update(word.repeat(30_000 / word.length), true);
    return blocks.list[0].isPlain;
  });
  assert.deepEqual(plain.map(([script]) => script), ["Arabic", "Japanese"]);
});

test("a text as models write it is formatted, however long it is", () => {
  const paragraph = "The writer saves **every half second**, so [a reply](https://e.example) that is cut loses *little* of its text.\n\n";
  const blocks = new Blocks(TEXTS_OF_PAGE);
  blocks.update(paragraph.repeat(4_000), true);
  assert.deepEqual(plainOf(blocks), []);
});

test("on request, the text is formatted", () => {
  const text = "a\n\n".repeat(20_000);
  const blocks = new Blocks(TEXTS_OF_PAGE, () => 0);
  blocks.update(text, true);
  blocks.allowMore();
  blocks.update(text, true);
  assert.deepEqual(plainOf(blocks), []);
  assert.equal(blocks.list.length, 20_000);
});
