/** Which delimiters may open and close emphasis and strikethrough. No DOM. */

import { CJK } from "./syntax.js";

const SPACE = /^[\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/;
const PUNCTUATION = /^[\p{P}\p{S}]/u;

/**
 * Return how long the run of delimiters at a position is, and whether it may open and close emphasis; also next to the punctuation
 * of Chinese, Japanese and Korean.
 *
 * Source: https://github.com/tats-u/markdown-cjk-friendly/blob/main/specification.md
 *
 * @param {string} text
 * @param {number} start
 * @param {number} limit Where the text ends.
 * @param {boolean} canSplitWord
 */
export function scanRun(text, start, limit, canSplitWord) {
  let end = start;
  while (end < limit && text[end] === text[start]) end += 1;
  const before = characterBefore(text, start);
  const after = characterAfter(text, end, limit);
  const isLeft = flanks(before, after);
  const isRight = flanks(after, before);
  return {
    length: end - start,
    can_open: isLeft && (canSplitWord || !isRight || PUNCTUATION.test(before)),
    can_close: isRight && (canSplitWord || !isLeft || PUNCTUATION.test(after)),
  };
}

/**
 * Whether a run stands at the edge of a word.
 *
 * @param {string} outside The character on the run's one side.
 * @param {string} inside The one on the other.
 */
function flanks(outside, inside) {
  return !SPACE.test(inside) && (!isPunctuation(inside) || isEdge(outside));
}

/**
 * @param {string} text
 * @param {number} position
 * @param {number} limit
 */
function characterAfter(text, position, limit) {
  return position < limit ? String.fromCodePoint(text.codePointAt(position) ?? 32) : " ";
}

/**
 * @param {string} text
 * @param {number} position
 */
function characterBefore(text, position) {
  const two = text.slice(Math.max(0, position - 2), position);
  return two ? String.fromCodePoint(two.codePointAt(/^[\ud800-\udbff][\udc00-\udfff]$/.test(two) ? 0 : two.length - 1) ?? 32) : " ";
}

/**
 * Whether CommonMark's rules for punctuation apply: they presuppose spaces between words.
 *
 * @param {string} character
 */
function isPunctuation(character) {
  return PUNCTUATION.test(character) && !CJK.test(character);
}

/** @param {string} character */
function isEdge(character) {
  return SPACE.test(character) || PUNCTUATION.test(character) || CJK.test(character);
}
