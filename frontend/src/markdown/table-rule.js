/** The rows of a table, and which formulas belong to one cell. No DOM. */

import { spend } from "./budget.js";
import { source } from "./syntax.js";

/**
 * @import { Rule, Start } from "./block-rules.js"
 * @import { BlockState } from "./block-state.js"
 */

// The second line of a table.
const DELIMITERS = /^(?:[|:][-|: \t]|-[-|:])[-|: \t]*$/;
const DELIMITER = /^:?-+:?$/;
// A formula in a row, or what may hold the beginning of one without being one.
const PIECE = new RegExp(`(?<code>(\`+)(?!\`)[^\\n]*?(?<!\`)\\2(?!\`))|\\\\\\\\|(?<formula>${source("formula")})`, "yu");
const PIECE_START = /[`\\$]/g;
// A row is looked through for formulas up to this length; each beginning of one is compared with what follows.
const MAX_ROW = 5_000;
// Short rows are filled up, so a few characters can become very many cells.
const MAX_EMPTY_CELLS = 0x10000;

/** @type {Start} */
export function startsTable(state, line) {
  return head(state, line) !== null;
}

/**
 * Return the columns of a table that begins at a line, null if none does.
 *
 * @param {BlockState} state
 * @param {number} line
 */
function head(state, line) {
  const second = line + 1;
  if (second >= state.limit || state.lines[second].indent < state.indent || state.isCode(second)) return null;
  const delimiters = state.content(second);
  if (!DELIMITERS.test(delimiters) || state.isCode(line)) return null;
  const text = state.content(line).trim();
  const aligns = text.includes("|") ? alignments(delimiters) : null;
  const header = aligns && cells(text);
  return aligns && header && header.length > 0 && header.length === aligns.length ? { aligns, header } : null;
}

/** @param {string} line */
function alignments(line) {
  const pieces = line.split("|").map((piece) => piece.trim());
  if (pieces[0] === "") pieces.shift();
  if (pieces.at(-1) === "") pieces.pop();
  if (!pieces.every((piece) => DELIMITER.test(piece))) return null;
  return pieces.map((piece) => {
    if (piece.endsWith(":")) return piece.startsWith(":") ? "center" : "right";
    return piece.startsWith(":") ? "left" : "";
  });
}

/** @type {Rule} */
export function readTable(state, line, limit) {
  const { aligns, header } = head(state, line) ?? {};
  if (!aligns || !header) return null;
  const row = (/** @type {string[]} */ texts) => aligns.map((_align, index) => (texts[index] === undefined ? null : state.inline(texts[index])));
  const token = { type: "table", from: line, to: line + 2, aligns, header: row(header), rows: /** @type {any[]} */ ([]) };
  let empty = 0;
  for (; token.to < limit && !endsTable(state, token.to); token.to += 1) {
    const texts = cells(state.content(token.to).trim());
    empty += aligns.length - texts.length;
    if (empty > MAX_EMPTY_CELLS) break;
    token.rows.push(row(texts));
    spend(aligns.length);
  }
  return token;
}

/**
 * @param {BlockState} state
 * @param {number} line
 */
function endsTable(state, line) {
  return state.lines[line].indent < state.indent || state.isBlank(line) || state.isCode(line) || state.isInterrupted(line, "block");
}

/**
 * Return the cells of a row.
 *
 * @param {string} row
 */
function cells(row) {
  const found = [];
  /** @type {string[]} */
  let pieces = [];
  let from = 0;
  for (const position of dividers(row)) {
    const isEscaped = row[position - 1] === "\\";
    pieces.push(row.slice(from, isEscaped ? position - 1 : position));
    // An escaped one belongs to the cell.
    from = isEscaped ? position : position + 1;
    if (isEscaped) continue;
    found.push(pieces.join("").trim());
    pieces = [];
  }
  found.push([...pieces, row.slice(from)].join("").trim());
  if (found[0] === "") found.shift();
  if (found.at(-1) === "") found.pop();
  return found;
}

/**
 * Return the positions of "|" that are not within a formula.
 *
 * @param {string} row
 */
function dividers(row) {
  const hidden = /[$\\]/.test(row) && row.length <= MAX_ROW ? formulas(row) : [];
  const positions = [];
  let next = 0;
  for (let position = row.indexOf("|"); position >= 0; position = row.indexOf("|", position + 1)) {
    while (next < hidden.length && hidden[next].end <= position) next += 1;
    if (!(next < hidden.length && hidden[next].start <= position)) positions.push(position);
  }
  return positions;
}

/** @param {string} row */
function formulas(row) {
  const found = [];
  PIECE_START.lastIndex = 0;
  for (let start; (start = PIECE_START.exec(row)); ) {
    spend(16);
    PIECE.lastIndex = start.index;
    const match = PIECE.exec(row);
    if (!match) continue;
    const end = start.index + match[0].length;
    // "$$" is also how dear something is: | $$ | $$$ |
    if (match.groups?.formula && !/^\$\$(?:\s|[^]*\s\$\$$)/.test(match[0])) found.push({ start: start.index, end });
    PIECE_START.lastIndex = end;
  }
  return found;
}
