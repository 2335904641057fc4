import assert from "node:assert/strict";
import { test } from "node:test";

import { isObject, isSame, shownJson } from "../src/json-text.js";

test("each member has a line, and every digit stays", () => {
  const text = '{"id":12345678901234567890,"price":1.10,"tags":["a, b","{c}"],"none":{},"empty":[ ],"quote":"\\"\\\\"}';
  const shown = shownJson(text);

  assert.ok(shown.includes('  "id": 12345678901234567890,\n  "price": 1.10,'));
  assert.ok(shown.includes('"tags": [\n    "a, b",\n    "{c}"\n  ]'));
  assert.ok(shown.includes('"none": {},') && shown.includes('"empty": [],'));
  assert.deepEqual(JSON.parse(shown), JSON.parse(text));
  assert.ok(isSame(shown, text));
});

test("what is not JSON stays as it is", () => {
  for (const text of ["", "{", '{"a": ', "<b>", "NaN"]) assert.equal(shownJson(text), text);
});

test("characters that cannot be seen are escaped, which is the same JSON", () => {
  const text = '{"to":"\u202egro.live\u200b"}';

  assert.equal(shownJson(text), '{\n  "to": "\\u202egro.live\\u200b"\n}');
  assert.deepEqual(JSON.parse(shownJson(text)), JSON.parse(text));
});

test("an escaped letter is shown as a letter", () => {
  const text = '{"to":"F\\u00f6rderung \\ud83d\\ude00 \\\\u00f6"}';

  assert.equal(shownJson(text), '{\n  "to": "Förderung 😀 \\\\u00f6"\n}');
  assert.deepEqual(JSON.parse(shownJson(text)), JSON.parse(text));
});

test("an escape that would be unseen, or would end the text, stays one", () => {
  for (const escape of ["\\u202e", "\\u0022", "\\u005c", "\\u000a", "\\u0085", "\\ud83d", "\\udb40\\udc41", "\\n"]) {
    assert.equal(shownJson(`"${escape}"`), `"${escape}"`);
  }
  assert.equal(shownJson('"\u{e0041}"'), '"\\udb40\\udc41"');
});

test("deep nesting does not make lines long", () => {
  const shown = shownJson("[".repeat(5000) + "1" + "]".repeat(5000));

  assert.ok(shown.length < 10_000 * 50);
});

test("only an object can be the arguments", () => {
  assert.ok(isObject('{"a": 1}'));
  for (const text of ["[]", "null", "1", '"{}"', "", "{a: 1}"]) assert.ok(!isObject(text));
});

test("white space makes no difference, and anything else does", () => {
  assert.ok(isSame('{"a":1}', '{ "a" : 1 }\n'));
  assert.ok(!isSame('{"a":1}', '{"a":1.0}'));
  assert.ok(!isSame('{"a":"x y"}', '{"a":"x  y"}'));
});
