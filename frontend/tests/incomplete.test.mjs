import assert from "node:assert/strict";
import { test } from "node:test";

import { closeInline, completeBlock } from "../src/markdown/incomplete.js";

const CLOSED = {
  "a **bold": "a **bold**",
  "a **bold*": "a **bold**",
  "a **bold ": "a **bold**",
  "a **": "a ",
  "a ~~gone": "a ~~gone~~",
  "a `code": "a `code`",
  "a ``co`de": "a ``co`de``",
  "**a `b": "**a `b`**",
  "**a ~~b": "**a ~~b~~**",
  "a [link](https://e.exa": "a link",
  "a ![image](https://e.exa": "a image",
  "**a [link](https://e": "**a link**",
  "a \\(x_1": "a ",
  "**a \\(x_1": "**a**",
  "\\(a**b\\) c": "\\(a**b\\) c",
  "`\\(` \\\\( b": "`\\(` \\\\( b",
  "a <b": "a ",
  "a[^1": "a",
  "a \\": "a ",
  "first **line\nsecond `x": "first **line\nsecond `x`",
};

test("open markup is closed", () => {
  for (const [text, closed] of Object.entries(CLOSED)) assert.equal(closeInline(text), closed);
});

test("complete markup stays as it is", () => {
  const texts = ["", "text", "**a** `b` ~~c~~ [d](https://e.example)", "a \\** b", "2 ** 3", "`**`", "[a] (b", "`a` ``b`` **c**"];
  for (const text of texts) assert.equal(closeInline(text), text);
});

test("a line that is only a marker so far is left out", () => {
  for (const mark of ["-", "--", "1", "1.", "12)", "#", "## ", "`", "```", ">", "> -", "| --", "=", "* ", "- [", "- [x", "1. [ ] "]) {
    assert.equal(completeBlock(`text\n${mark}`), "text\n");
  }
  for (const line of ["- a", "1. a", "1a", "#a", "```py", "a-", "- [y", "---\n"]) assert.equal(completeBlock(`text\n${line}`), `text\n${line}`);
});

test("a formula on lines of its own is left out until it is complete", () => {
  for (const text of ["text\n$$\na", "text\n\\[", "text\n\\[\na\n- b\n"]) assert.equal(completeBlock(text), "text\n");
  for (const text of ["text\n$$\na\n$$\n", "$$\n\ntext"]) assert.equal(completeBlock(text), text);
});

test("the beginning of a table is a table", () => {
  const head = "text\n\n| a | b |";
  const table = `${head}\n|---|---|`;
  for (const rest of ["", "\n", "\n|", "\n| --", "\n|---|---", "\n|:-:|"]) assert.equal(completeBlock(head + rest), table);
  assert.equal(completeBlock("| a | b"), "| a | b\n|---|---|");
  assert.equal(completeBlock("a | b\n--- | -"), "a | b\n|---|---|");
  for (const text of [`${table}\n| 1 | 2`, `${table}\n| 1`, "a | b\n---|---\n1 | 2", "a | b", "| a |\n|---|\n| 1 |\n"]) {
    assert.equal(completeBlock(text), text);
  }
});
