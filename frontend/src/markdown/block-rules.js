/** Rules for blocks beyond CommonMark: formulas with lines of their own, footnotes, and what is special about tables and tasks. No DOM. */

import { spend } from "./budget.js";
import { BACKTICKS, FORMULA_BLOCK, matchAt, NOTE, ROW_PIECE, TASK } from "./syntax.js";

/**
 * @import { MarkdownIt, StateBlock, Token } from "markdown-it"
 * @import { Definitions } from "./dialect.js"
 */

/** @typedef {(state: StateBlock, start: number, end: number, silent: boolean) => boolean} Rule */

// A formula has up to 5000 characters.
const MAX_BLOCK_CHARACTERS = 6_000;
/** @type {Record<string, string>} */
const CLOSING = { $$: "$$", "\\[": "\\]" };
// Stands for "|" within a formula while the cells of a table are divided; every real NUL has been replaced.
const HIDDEN_PIPE = "\0";
const INTERRUPTS = { alt: ["paragraph", "reference", "blockquote", "list"] };

/** @param {MarkdownIt} parser */
export function addBlockRules(parser) {
  const [table, , , quote, , list] = parser.block.ruler.getRules("");
  parser.block.ruler.at("table", limitedTable(table), { alt: ["paragraph", "reference"] });
  parser.block.ruler.at("blockquote", nested(quote), INTERRUPTS);
  parser.block.ruler.at("list", nested(list), { alt: ["paragraph", "reference", "blockquote"] });
  parser.block.ruler.before("reference", "formula", formula, INTERRUPTS);
  parser.block.ruler.before("reference", "note", note, INTERRUPTS);
}

/**
 * Return a line without its indent, "" for one that is code.
 *
 * @param {StateBlock} state
 * @param {number} line
 */
function content(state, line) {
  if (state.sCount[line] - state.blkIndent >= 4) return "";
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}

/**
 * A formula with lines of its own, which may look like a list or a heading.
 *
 * @type {Rule}
 */
function formula(state, start, end, silent) {
  const opening = content(state, start).slice(0, 2);
  if (!CLOSING[opening]) return false;
  const text = state.getLines(start, closingLine(state, start, end, opening), state.blkIndent, false);
  const [found] = matchAt(FORMULA_BLOCK, text.replace(/^ +/, ""), 0) ?? [];
  if (!found) return false;
  if (!silent) pushParagraph(state, start, start + found.trimEnd().split("\n").length);
  return true;
}

/**
 * Return the line after the one where a formula ends, or where it cannot go on: so each line is read once.
 *
 * @param {StateBlock} state
 * @param {number} start
 * @param {number} end
 * @param {string} opening
 */
function closingLine(state, start, end, opening) {
  const indent = Math.min(state.blkIndent, state.sCount[start]);
  const limit = state.bMarks[start] + MAX_BLOCK_CHARACTERS;
  let position = state.bMarks[start] + state.tShift[start] + 2;
  for (let line = start; line < end; line += 1) {
    spend();
    const isAnother = opening === "\\[" && line > start && content(state, line).startsWith(opening);
    if (isAnother || state.isEmpty(line) || state.sCount[line] < indent || state.bMarks[line] > limit) return line;
    if (state.src.slice(position, state.eMarks[line]).includes(CLOSING[opening])) return line + 1;
    position = state.eMarks[line];
  }
  return end;
}

/**
 * @param {StateBlock} state
 * @param {number} start
 * @param {number} end
 */
function pushParagraph(state, start, end) {
  state.line = end;
  state.push("paragraph_open", "p", 1).map = [start, end];
  const token = state.push("inline", "", 0);
  token.content = state.getLines(start, end, state.blkIndent, false).trim();
  token.map = [start, end];
  token.children = [];
  state.push("paragraph_close", "p", -1);
}

/**
 * A footnote: a paragraph that begins with "[^label]:", and stays where it was written.
 *
 * @type {Rule}
 */
function note(state, start, end, silent) {
  const line = content(state, start);
  const match = line.startsWith("[^") ? matchAt(NOTE, line, 0) : null;
  if (!match || line[match[0].length] !== ":") return false;
  if (!silent) {
    /** @type {Definitions} */ (state.env).notes[match[1]] = true;
    state.md.block.ruler.getRules("").at(-1)?.(state, start, end, false);
  }
  return true;
}

/**
 * Return the rule for blocks that hold others, which leaves what is nested too deeply as text: markdown-it would leave it out.
 *
 * @param {Rule} rule
 * @returns {Rule}
 */
function nested(rule) {
  // A list and its item are two levels.
  return (state, start, end, silent) => state.level + 2 < state.md.options.maxNesting && rule(state, start, end, silent);
}

/**
 * Return the rule for a table that ends where the cells that are missing in its rows would become more than its characters.
 *
 * @param {Rule} table
 * @returns {Rule}
 */
function limitedTable(table) {
  return (state, start, end, silent) => {
    if (!table(state, start, end, true)) return false;
    return silent || table(state, start, tableEnd(state, start, end), false);
  };
}

/**
 * @param {StateBlock} state
 * @param {number} start
 * @param {number} end
 */
function tableEnd(state, start, end) {
  const width = state.src.slice(state.bMarks[start + 1], state.eMarks[start + 1]).split("|").length - 1;
  for (let line = start + 2; line < end; line += 1) {
    if (state.isEmpty(line) || (line - start) * width > state.eMarks[line] - state.bMarks[start]) return line;
  }
  return end;
}

/**
 * Keep the formulas in a table's row together, which may hold the character that divides cells. The text keeps its length.
 *
 * @param {string} text
 */
export function hidePipes(text) {
  if (!text.includes("|") || !/[$\\]/.test(text)) return text;
  return text.split("\n").map((line) => (line.includes("|") ? hidePipesOf(line) : line)).join("\n");
}

/** @param {string} line */
function hidePipesOf(line) {
  const ends = codeEnds(line);
  const pieces = [];
  let position = 0;
  for (let shown = 0; ; ) {
    spend();
    ROW_PIECE.lastIndex = position;
    const match = ROW_PIECE.exec(line);
    if (!match) return [...pieces, line.slice(shown)].join("");
    position = ends.get(match.index) ?? ROW_PIECE.lastIndex;
    if (!match.groups?.formula) continue;
    pieces.push(line.slice(shown, match.index), hidden(match[0]));
    shown = position;
  }
}

/**
 * Return the ends of what may be code by its beginnings: the next run of as many backticks.
 *
 * @param {string} line
 */
function codeEnds(line) {
  const later = new Map();
  const ends = new Map();
  for (const { 0: run, index } of [...line.matchAll(BACKTICKS)].reverse()) {
    if (later.has(run.length)) ends.set(index, later.get(run.length));
    later.set(run.length, index + run.length);
  }
  return ends;
}

/** @param {string} source Of a formula. */
function hidden(source) {
  // "$$" is also how dear something is: | $$ | $$$ |
  const isPrice = source.startsWith("$$") && /\s/.test(source[2] + (source.at(-3) ?? ""));
  return isPrice ? source : source.replaceAll("|", HIDDEN_PIPE);
}

/** @param {Token[]} tokens */
export function showPipes(tokens) {
  for (const token of tokens) {
    token.content = token.content.replaceAll(HIDDEN_PIPE, "|");
    token.info = token.info.replaceAll(HIDDEN_PIPE, "|");
  }
}

/**
 * Take the "[x]" at the beginning of a list's item.
 *
 * @param {StateBlock} state
 */
export function takeTasks({ tokens, Token }) {
  for (const [index, token] of tokens.entries()) {
    if (token.type !== "inline" || tokens[index - 2]?.type !== "list_item_open") continue;
    const [found, mark] = matchAt(TASK, token.content, 0) ?? [];
    if (!found || tokens[index - 1].type !== "paragraph_open") continue;
    token.content = token.content.slice(found.length);
    const box = new Token("task", "input", 0);
    box.meta = { isDone: mark !== " " };
    token.children = [box];
  }
}
