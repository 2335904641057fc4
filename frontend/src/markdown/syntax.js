/** The regular expressions of the Markdown syntax that is not in CommonMark. The server has the same ones; see syntax.json. */

import expressions from "../../../streaming_chat/rendering/syntax.json" with { type: "json" };

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

export const FORMULA = sticky("formula");
export const FORMULA_BLOCK = sticky("formula_block");
export const LINE_BREAK = sticky("line_break");
export const ADDRESS = sticky("address");
export const ADDRESS_END = new RegExp(source("address_end"), "u");
export const NOTE = sticky("note");
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
