/** Pairs of delimiters: emphasis and strikethrough. No DOM. The algorithm is that of markdown-it, which takes linear time. */

import { spend } from "./budget.js";
import { CJK } from "./syntax.js";

/** @import { Piece } from "./inline.js" */

/**
 * One delimiter of a run such as "**". piece: its index among the pieces. size: of the run, 0 where its length does not matter.
 * end: the index of the delimiter that closes it, -1 for none.
 *
 * @typedef {{mark: string, size: number, piece: number, end: number, opens: boolean, closes: boolean}} Delimiter
 */

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
    opens: isLeft && (canSplitWord || !isRight || PUNCTUATION.test(before)),
    closes: isRight && (canSplitWord || !isLeft || PUNCTUATION.test(after)),
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

/**
 * Find the pairs of a list of delimiters: an opening one gets its `end`.
 *
 * @param {Delimiter[]} list
 */
export function pair(list) {
  /** @type {Record<string, number[]>} The lowest index at which it is worth looking for an opening delimiter. */
  const bottoms = {};
  /** @type {number[]} How many delimiters before this one can be skipped. */
  const jumps = [];
  let header = 0;
  let lastPiece = -2;
  for (const [index, closer] of list.entries()) {
    jumps.push(0);
    if (list[header].mark !== closer.mark || lastPiece !== closer.piece - 1) header = index;
    lastPiece = closer.piece;
    if (!closer.closes) continue;
    const bottom = (bottoms[closer.mark] ??= [-1, -1, -1, -1, -1, -1]);
    const kind = () => (closer.opens ? 3 : 0) + (closer.size % 3);
    const first = header - jumps[header] - 1;
    const opener = findOpener(list, jumps, closer, first, bottom[kind()]);
    if (opener < 0) {
      bottom[kind()] = first;
      continue;
    }
    const skipped = opener > 0 && !list[opener - 1].opens ? jumps[opener - 1] + 1 : 0;
    jumps[index] = index - opener + skipped;
    jumps[opener] = skipped;
    closer.opens = false;
    Object.assign(list[opener], { end: index, closes: false });
    lastPiece = -2;
  }
}

/**
 * Return the index of the delimiter that another one closes, -1 for none.
 *
 * @param {Delimiter[]} list
 * @param {number[]} jumps
 * @param {Delimiter} closer
 * @param {number} first
 * @param {number} bottom
 */
function findOpener(list, jumps, closer, first, bottom) {
  for (let index = first; index > bottom; index -= jumps[index] + 1) {
    spend();
    const opener = list[index];
    if (opener.mark !== closer.mark || !opener.opens || opener.end >= 0) continue;
    // CommonMark, rules 9 and 10 of emphasis.
    const isOdd = (opener.closes || closer.opens) && (opener.size + closer.size) % 3 === 0 && (opener.size % 3 !== 0 || closer.size % 3 !== 0);
    if (!isOdd) return index;
  }
  return -1;
}

/**
 * Make tags of the pairs of a list.
 *
 * @param {Delimiter[]} list
 * @param {Piece[]} pieces
 */
export function mark(list, pieces) {
  markStrikethrough(list, pieces);
  for (let index = list.length - 1; index >= 0; index -= 1) {
    const start = list[index];
    if (start.mark === "~" || start.end < 0) continue;
    const end = list[start.end];
    const before = list[index - 1];
    const isStrong =
      before?.end === start.end + 1 &&
      before.mark === start.mark &&
      before.piece === start.piece - 1 &&
      list[start.end + 1].piece === end.piece + 1;
    setTag(pieces, start.piece, end.piece, isStrong ? "strong" : "em");
    if (!isStrong) continue;
    pieces[before.piece] = pieces[end.piece + 1] = { html: "", plain: "" };
    index -= 1;
  }
}

/**
 * @param {Delimiter[]} list
 * @param {Piece[]} pieces
 */
function markStrikethrough(list, pieces) {
  /** @type {number[]} */
  const lone = [];
  for (const start of list) {
    if (start.mark !== "~" || start.end < 0) continue;
    const { piece } = list[start.end];
    setTag(pieces, start.piece, piece, "s");
    if (pieces[piece - 1].html === "~") lone.push(piece - 1);
  }
  // Of an odd run, one "~" was left over at its beginning; at the end of a strikethrough it belongs behind it.
  for (const index of lone.reverse()) {
    let last = index;
    while (pieces[last + 1]?.html === "</s>") last += 1;
    [pieces[index], pieces[last]] = [pieces[last], pieces[index]];
  }
}

/**
 * @param {Piece[]} pieces
 * @param {number} start
 * @param {number} end
 * @param {string} tag
 */
function setTag(pieces, start, end, tag) {
  pieces[start] = { html: `<${tag}>`, plain: "" };
  pieces[end] = { html: `</${tag}>`, plain: "" };
}
