/**
 * The blocks of a text: lists, quotes, code, tables and so on, by the rules of markdown-it, which the server uses. Each line is looked
 * at once per level of nesting, so the time is proportional to the length. No DOM.
 */

import { BlockState } from "./block-state.js";
import { spend } from "./budget.js";
import { readDefinition } from "./definition.js";
import { code, fence, heading, rule, startsFence, startsHeading, startsRule } from "./leaf-rules.js";
import { list, startsList } from "./list-rule.js";
import { formula, note, paragraph, startsFormula, startsNote } from "./paragraph-rules.js";
import { quote, startsQuote } from "./quote-rule.js";
import { readTable, startsTable } from "./table-rule.js";

/**
 * A block. `type` says which of the other properties there are.
 *
 * @typedef {{type: string, from: number, to: number, [name: string]: any}} Token from, to: its lines; `to` does not belong to it.
 */
/** @typedef {(state: BlockState, line: number, limit: number) => Token | null} Rule Returns the block that begins at a line. */
/** @typedef {(state: BlockState, line: number, isAfterText: boolean) => boolean} Start Whether a block begins at a line. */

/** @type {Rule[]} */
const RULES = [readTable, code, fence, quote, rule, list, formula, note, readDefinition, heading, paragraph];
/** @type {Start[]} */
const AFTER_ITEM = [startsFence, startsQuote, startsRule, startsFormula, startsNote];
const AFTER_BLOCK = [...AFTER_ITEM, startsList, startsHeading];
/** What begins a block right after a line of a text, of another block, of a list's item. */
const AFTER = { text: [startsTable, ...AFTER_BLOCK], block: AFTER_BLOCK, item: AFTER_ITEM };

/**
 * Return a text of which `readBlock` reads the blocks.
 *
 * @param {string} text
 */
export function stateOf(text) {
  return new BlockState(text, {
    interrupts: (state, line, kind, isAfterText) => AFTER[kind].some((start) => start(state, line, isAfterText)),
    readBlocks,
  });
}

/**
 * Read the blocks of some lines, up to one that is less indented than the block around. `state.line` is where they end.
 *
 * @param {BlockState} state
 * @param {number} line
 * @param {number} limit
 */
function readBlocks(state, line, limit) {
  /** @type {Token[]} */
  const tokens = [];
  let hasBlank = false;
  state.line = line;
  for (;;) {
    while (state.line < limit && state.isBlank(state.line)) state.line += 1;
    if (state.line >= limit || state.lines[state.line].indent < state.indent) return tokens;
    tokens.push(readBlock(state, state.line, limit));
    state.isTight = !hasBlank;
    if (state.isBlank(state.line - 1) && state.line - 1 < limit) hasBlank = true;
    if (state.line < limit && state.isBlank(state.line)) {
      hasBlank = true;
      state.line += 1;
    }
  }
}

/**
 * Read the block that begins at a line; it ends at `state.line`.
 *
 * @param {BlockState} state
 * @param {number} line
 * @param {number} limit
 */
export function readBlock(state, line, limit) {
  spend();
  for (const read of RULES) {
    const token = read(state, line, limit);
    if (!token) continue;
    state.line = token.to;
    if (!token.inline && !token.items && !token.tokens && !token.rows) state.lastInline = null;
    return token;
  }
  throw new Error("The rule of a paragraph matches any line.");
}
