import assert from "node:assert/strict";
import { test } from "node:test";

import { closeInline, withoutBareMarker } from "../src/markdown/incomplete.js";

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
  for (const mark of ["-", "--", "1", "1.", "12)", "#", "## ", "`", "```", ">", "> -", "| --", "=", "* "]) {
    assert.equal(withoutBareMarker(`text\n${mark}`), "text\n");
  }
  for (const line of ["- a", "1. a", "1a", "#a", "```py", "a-", "|a", "---\n"]) assert.equal(withoutBareMarker(`text\n${line}`), `text\n${line}`);
});
