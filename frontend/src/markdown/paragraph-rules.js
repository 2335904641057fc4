/** Paragraphs, headings that are underlined, formulas that have lines of their own, and footnotes. No DOM. */

import { spend } from "./budget.js";
import { FORMULA_BLOCK, matchAt, NOTE } from "./syntax.js";

/**
 * @import { Rule, Start } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

const UNDERLINE = /^(?:=+|-+)[ \t]*$/;
/** @type {Record<string, string>} */
const FORMULA_ENDS = { $$: "$$", "\\[": "\\]" };
// A formula has up to 5000 characters.
const MAX_FORMULA_BLOCK = 6000;

/**
 * Read a paragraph, or a heading that is underlined.
 *
 * @type {Rule}
 */
export function paragraph(state, line) {
  const end = paragraphEnd(state, line, true);
  const inline = state.inline(state.slice(line, end, state.indent).trim());
  if (end >= state.limit || state.isBlank(end) || !isUnderline(state, end)) return { type: "paragraph", from: line, to: end, inline };
  return { type: "heading", from: line, to: end + 1, depth: state.content(end)[0] === "=" ? 1 : 2, inline };
}

/**
 * Return the line behind a paragraph, or the one that underlines it.
 *
 * @param {BlockState} state
 * @param {number} line
 * @param {boolean} canBeUnderlined
 */
function paragraphEnd(state, line, canBeUnderlined) {
  let next = line + 1;
  for (; next < state.limit && !state.isBlank(next); next += 1) {
    spend();
    // More indented than code, it continues the paragraph.
    if (state.lines[next].indent - state.indent > 3) continue;
    if (canBeUnderlined && isUnderline(state, next)) break;
    if (state.lines[next].indent >= 0 && state.isInterrupted(next, "text", true)) break;
  }
  return next;
}

/**
 * @param {BlockState} state
 * @param {number} line
 */
function isUnderline(state, line) {
  const { indent } = state.lines[line];
  return indent >= state.indent && indent - state.indent <= 3 && UNDERLINE.test(state.content(line));
}

/** @type {Start} */
export function startsFormula(state, line) {
  return formulaLines(state, line) > 0;
}

/**
 * Return how many lines a formula has that begins at a line, 0 for none.
 *
 * @param {BlockState} state
 * @param {number} line
 */
function formulaLines(state, line) {
  if (state.isCode(line)) return 0;
  const { begin, first, indent } = state.lines[line];
  const closing = FORMULA_ENDS[state.text.slice(first, first + 2)];
  const closed = closing ? state.next(closing, first + 2) : Infinity;
  if (closed > begin + MAX_FORMULA_BLOCK) return 0;
  let end = line + 1;
  while (end < state.limit && state.lines[end].begin <= closed) {
    if (state.isBlank(end) || state.lines[end].indent < Math.min(state.indent, indent)) return 0;
    end += 1;
    spend();
  }
  const [found] = matchAt(FORMULA_BLOCK, state.slice(line, end, state.indent).trimStart(), 0) ?? [];
  return found ? found.trimEnd().split("\n").length : 0;
}

/**
 * Read a formula that has lines of its own, which may look like a list or a heading.
 *
 * @type {Rule}
 */
export function formula(state, line) {
  const to = line + formulaLines(state, line);
  return to > line ? { type: "paragraph", from: line, to, inline: state.inline(state.slice(line, to, state.indent).trim()) } : null;
}

/** @type {Start} */
export function startsNote(state, line) {
  return noteLabel(state, line) !== null;
}

/**
 * @param {BlockState} state
 * @param {number} line
 */
function noteLabel(state, line) {
  const { first, end } = state.lines[line];
  if (state.isCode(line) || !state.text.startsWith("[^", first)) return null;
  const match = matchAt(NOTE, state.text, first, end);
  return match && state.text[first + match[0].length] === ":" ? match[1] : null;
}

/**
 * Read a footnote, a paragraph that begins with "[^label]:". It stays where it was written.
 *
 * @type {Rule}
 */
export function note(state, line) {
  const label = noteLabel(state, line);
  if (label === null) return null;
  const to = paragraphEnd(state, line, false);
  return { type: "paragraph", from: line, to, note: `^${label}`, inline: state.inline(state.slice(line, to, state.indent).trim()) };
}
