/** The regular expressions of the Markdown syntax that is not in CommonMark. The server has the same ones; see syntax.json. */

import expressions from "../../../streaming_chat/rendering/syntax.json" with { type: "json" };

// With its delimiters.
const MAX_FORMULA = 5_010;

/**
 * Return an expression as text, with the expressions that it names filled in.
 *
 * @param {keyof typeof expressions} name
 * @returns {string}
 */
export function source(name) {
  const found = expressions[name];
  const expression = Array.isArray(found) ? found.join("|") : found;
  return expression.replace(/%(\w+)%/g, (_whole, inner) => source(inner));
}

/** @param {keyof typeof expressions} name */
const sticky = (name) => new RegExp(source(name), "yu");

const FORMULA = sticky("formula");
export const FORMULA_BLOCK = sticky("formula_block");
export const LINE_BREAK = sticky("line_break");
export const ADDRESS = sticky("address");
export const ADDRESS_END = new RegExp(source("address_end"), "u");
export const NOTE = sticky("note");
export const TASK = sticky("task");
export const BACKTICKS = /`+/g;
// In the row of a table: backticks, which may begin code, a formula, or what may hold the beginning of one without being one.
export const ROW_PIECE = new RegExp(`\`+|\\\\[\\\\$]|(?<formula>${source("formula")})`, "gu");
export const CJK = new RegExp(`^[${source("cjk")}]`, "u");

/**
 * Return the match of a sticky expression at a position, null for none or one that ends later than `end`.
 *
 * @param {RegExp} expression
 * @param {string} text
 * @param {number} position
 */
export function matchAt(expression, text, position, end = text.length) {
  expression.lastIndex = position;
  const match = expression.exec(text);
  return match && match.index + match[0].length <= end ? match : null;
}

/**
 * Return the formula at a position, null for none. A formula has up to 5000 characters, and the expressions for it look ahead.
 *
 * @param {string} text
 * @param {number} position
 * @param {number} end
 */
export function formulaAt(text, position, end) {
  const start = Math.max(0, position - 1);
  return matchAt(FORMULA, text.slice(start, position + MAX_FORMULA), position - start, end - start)?.[0] ?? null;
}
