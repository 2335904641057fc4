/** Quotes. No DOM. */

import { spend } from "./budget.js";

/**
 * @import { Rule, Start } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

/** @type {Start} */
export function startsQuote(state, line) {
  return !state.isCode(line) && state.text[state.lines[line].first] === ">" && !state.isBlank(line);
}

/** @type {Rule} */
export function quote(state, line, limit) {
  if (!state.mayNest || !startsQuote(state, line, false)) return null;
  const before = state.lines.slice(line, line + 1);
  state.lines[line] = behindMark(state, line);
  let isBlank = state.isBlank(line);
  let end = line + 1;
  for (; end < limit && !state.isBlank(end); end += 1) {
    spend();
    const found = state.lines[end];
    const isInside = state.text[found.first] === ">" && found.indent >= state.indent;
    if (!isInside && (isBlank || state.isInterrupted(end, "block"))) break;
    before.push(found);
    // A line without the mark continues a paragraph.
    state.lines[end] = isInside ? behindMark(state, end) : { ...found, indent: -1 };
    if (isInside) isBlank = state.isBlank(end);
  }
  const tokens = state.inside({ indent: 0, limit: end }, () => state.readBlocks(line, end));
  for (const [index, found] of before.entries()) state.lines[line + index] = found;
  return { type: "blockquote", from: line, to: end, tokens };
}

/**
 * Return what is left of a line behind the mark of a quote.
 *
 * @param {BlockState} state
 * @param {number} line
 */
function behindMark(state, line) {
  const { first, end, indent, shift } = state.lines[line];
  const next = state.text[first + 1];
  const isTab = next === "\t";
  // Of a tab that is wider than one column, the others belong to the content.
  const takesSpace = next === " " || (isTab && (shift + indent + 1) % 4 === 3);
  const begin = first + 1 + Number(takesSpace);
  const column = indent + 1 + Number(takesSpace);
  const found = state.skipSpace(begin, end, column, shift + Number(isTab && !takesSpace));
  const hasSpace = next === " " || isTab;
  return { begin, first: found.position, end, indent: found.column - column, shift: indent + 1 + Number(hasSpace) };
}
