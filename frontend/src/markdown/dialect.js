/**
 * The dialect of Markdown: CommonMark with tables, strikethrough and hard line breaks, in which HTML is text; and what models write
 * besides: formulas, footnotes and task lists. No DOM.
 */

import { hidePipes, showPipes, takeTasks } from "./block-rules.js";
import { parser } from "./parser.js";

/** @import { Token } from "markdown-it" */

/**
 * What a text defines. notes: the labels of its footnotes.
 *
 * @typedef {{references: Record<string, {href: string, title: string}>, notes: Record<string, true>}} Definitions
 */
/**
 * An outer block with its source. type: of its first token. start, end: where it is in the text. defined: by this block. isClosed:
 * code with a closing fence.
 *
 * @typedef {{type: string, tokens: Token[], raw: string, start: number, end: number, defined: Definitions, isClosed: boolean}} Source
 */

/**
 * Yield the blocks of a text. The text within them is not read yet: `toHtml` does that, with the definitions of all blocks.
 *
 * @param {string} text
 * @param {((text: string) => string) | null} [amend] Given the inline text at the end of the last block, returns what to read instead.
 * @returns {Generator<Source>}
 */
export function* read(text, amend = null) {
  const state = new parser.block.State(hidePipes(text), parser, {}, []);
  const rules = parser.block.ruler.getRules("");
  const limit = state.lineMax;
  for (let line = state.skipEmptyLines(0); line < limit; ) {
    const start = state.bMarks[line];
    /** @type {Token[]} */
    const tokens = [];
    const defined = noDefinitions();
    Object.assign(state, { tokens, env: defined, line });
    rules.some((rule) => rule(state, line, limit, false));
    showPipes(tokens);
    takeTasks(state);
    const end = state.line < limit ? state.bMarks[state.line] : text.length;
    line = state.skipEmptyLines(state.line);
    if (amend && line >= limit) amendLast(tokens, amend);
    const [first] = tokens;
    yield { type: first.type, tokens, raw: text.slice(start, end), start, end, defined, isClosed: isClosed(first) };
  }
}

/**
 * @param {Token[]} tokens
 * @param {(text: string) => string} amend
 */
function amendLast(tokens, amend) {
  // The row of a table is filled up with cells.
  const last = tokens.findLast(({ type, nesting, content }) => nesting === 0 ? type !== "inline" || content : type !== "td_open" && nesting > 0);
  if (last?.type === "inline") last.content = amend(last.content);
}

/** @param {Token} token */
function isClosed({ type, content, map }) {
  if (type !== "fence" || !map) return false;
  const lines = content.split("\n").length - (content.endsWith("\n") || !content ? 1 : 0);
  return map[1] - map[0] > lines + 1;
}

/** @returns {Definitions} */
export function noDefinitions() {
  return { references: Object.create(null), notes: Object.create(null) };
}

/** @param {Definitions} definitions */
export function isEmpty({ references, notes }) {
  return Object.keys(references).length + Object.keys(notes).length === 0;
}

/**
 * Return the definitions of links and footnotes of blocks; of several with the same label, the first.
 *
 * @param {{defined: Definitions}[]} blocks
 * @param {Definitions} [known] What was defined before.
 */
export function define(blocks, known = noDefinitions()) {
  for (const { defined } of blocks) {
    for (const [label, target] of Object.entries(defined.references)) known.references[label] ??= target;
    Object.assign(known.notes, defined.notes);
  }
  return known;
}
