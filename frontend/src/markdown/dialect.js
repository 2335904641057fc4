/**
 * The dialect of Markdown: CommonMark with tables, strikethrough and hard line breaks, in which HTML is text; and what models write
 * besides: formulas, footnotes and task lists. block-rules.js divides a text into blocks, inline.js reads their text. No DOM.
 */

import { readBlock, stateOf } from "./block-rules.js";

/**
 * A block with its source. start, end: where it is in the text.
 *
 * @typedef {import("./block-rules.js").Token & {raw: string, start: number, end: number}} Token
 */
/** @typedef {Record<string, {href: string, title: string}>} Definitions */

/**
 * Yield the blocks of a text. The text within them is not read yet: `toHtml` does that, with the definitions of all blocks.
 *
 * @param {string} text
 * @param {((text: string) => string) | null} [amend] Given the inline text at the end of the last block, returns what to read instead.
 * @returns {Generator<Token>}
 */
export function* read(text, amend = null) {
  const state = stateOf(text);
  const { lines } = state;
  let line = firstText(state, 0);
  while (line < lines.length) {
    state.lastInline = null;
    const token = readBlock(state, line, lines.length);
    const end = state.line < lines.length ? lines[state.line].begin : text.length;
    line = firstText(state, state.line);
    const inline = /** @type {{src: string} | null} */ (state.lastInline);
    if (amend && inline && line >= lines.length) inline.src = amend(inline.src);
    const start = lines[token.from].begin;
    yield { ...token, start, end, raw: text.slice(start, end) };
  }
}

/**
 * Return the first line that is not blank, from one on.
 *
 * @param {import("./block-state.js").BlockState} state
 * @param {number} line
 */
function firstText(state, line) {
  while (line < state.lines.length && state.isBlank(line)) line += 1;
  return line;
}

/**
 * Return the definitions of links and footnotes among blocks; of several with the same label, the first.
 *
 * @param {import("./block-rules.js").Token[]} tokens
 * @param {Definitions} [links] What was defined before.
 */
export function define(tokens, links = Object.create(null)) {
  for (const { type, tag, href = "", title = "", note, items = [], tokens: inner = [] } of tokens) {
    if (type === "def") links[tag] ??= { href, title };
    if (note) links[note] ??= { href: "", title: "" };
    define(inner, links);
    for (const item of items) define(item.tokens, links);
  }
  return links;
}
