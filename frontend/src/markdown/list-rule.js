/** Lists and their tasks. No DOM. */

import { spend } from "./budget.js";
import { matchAt, TASK } from "./syntax.js";

/**
 * @import { Rule, Start, Token } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

const BULLET = /([-+*])(?=[ \t\n]|$)/y;
const NUMBER = /(\d{1,9})([.)])(?=[ \t\n]|$)/y;

/**
 * Return the mark of a list's item, null for none.
 *
 * @param {BlockState} state
 * @param {number} line
 */
function itemMark(state, line) {
  const { first, end } = state.lines[line];
  const bullet = matchAt(BULLET, state.text, first, end);
  const number = bullet ? null : matchAt(NUMBER, state.text, first, end);
  if (bullet) return { kind: bullet[1], number: NaN, length: 1 };
  return number && { kind: number[2], number: Number(number[1]), length: number[0].length };
}

/** @type {Start} */
export function startsList(state, line, isAfterText) {
  const { first, end, indent } = state.lines[line];
  if (state.isCode(line) || (state.listIndent >= 0 && indent - state.listIndent >= 4 && indent < state.indent)) return false;
  const mark = itemMark(state, line);
  if (!mark || !isAfterText || indent < state.indent) return mark !== null;
  // Right after a text, a list begins with 1, and not with an item without text.
  return !(mark.number > 1 || mark.number === 0) && state.skipSpace(first + mark.length, end, 0, 0).position < end;
}

/** @type {Rule} */
export function list(state, line, limit) {
  if (!state.mayNest || !startsList(state, line, false)) return null;
  const { kind, number } = /** @type {NonNullable<ReturnType<typeof itemMark>>} */ (itemMark(state, line));
  const items = [];
  let isTight = true;
  let endsBlank = false;
  let next = line;
  do {
    const item = readItem(state, next, limit);
    items.push({ tokens: item.tokens });
    if (!item.isTight || endsBlank) isTight = false;
    endsBlank = item.to - next > 1 && state.isBlank(item.to - 1);
    next = item.to;
    spend();
  } while (next < limit && continuesList(state, next, kind));
  return { type: "list", from: line, to: next, ordered: !Number.isNaN(number), number, isTight, items };
}

/**
 * @param {BlockState} state
 * @param {number} line
 * @param {string} kind
 */
function continuesList(state, line, kind) {
  if (state.lines[line].indent < state.indent || state.isCode(line) || state.isInterrupted(line, "item")) return false;
  return itemMark(state, line)?.kind === kind;
}

/**
 * @param {BlockState} state
 * @param {number} line
 * @param {number} limit
 */
function readItem(state, line, limit) {
  const before = state.lines[line];
  const { length } = /** @type {NonNullable<ReturnType<typeof itemMark>>} */ (itemMark(state, line));
  const column = before.indent + length;
  const found = state.skipSpace(before.first + length, before.end, column, before.shift);
  const isBlank = found.position >= before.end;
  // With more than four spaces, what follows is code.
  const spaces = isBlank || found.column - column > 4 ? 1 : found.column - column;
  state.lines[line] = { ...before, first: found.position, indent: found.column };
  const read = () => {
    state.isTight = true;
    // An item without text ends with the line, unless text follows.
    if (isBlank && state.isBlank(line + 1)) return { to: Math.min(line + 2, limit), tokens: [] };
    const tokens = state.readBlocks(line, limit);
    return { to: state.line, tokens };
  };
  const outer = state.isTight;
  const { to, tokens } = state.inside({ indent: column + spaces, listIndent: state.indent }, read);
  const { isTight } = state;
  state.isTight = outer;
  state.lines[line] = before;
  takeTask(tokens[0]);
  return { to, tokens, isTight };
}

/**
 * Take the "[x]" at the beginning of a list's item.
 *
 * @param {Token | undefined} token
 */
function takeTask(token) {
  if (token?.type !== "paragraph") return;
  const [found, mark] = matchAt(TASK, token.inline.src, 0) ?? [];
  if (!found) return;
  token.inline.src = token.inline.src.slice(found.length);
  token.inline.checked = mark !== " ";
}
