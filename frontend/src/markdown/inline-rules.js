/** Rules for the text of a block beyond CommonMark: formulas, footnotes, bare addresses and `<br>`. No DOM. */

import { spend } from "./budget.js";
import { ADDRESS, ADDRESS_END, formulaAt, LINE_BREAK, matchAt, NOTE } from "./syntax.js";

/**
 * @import { MarkdownIt, StateInline } from "markdown-it"
 * @import { Definitions } from "./dialect.js"
 */

/** @typedef {(state: StateInline, silent: boolean) => boolean} Rule */

// Also where a bare address may begin.
const STOP = /[\n!#$%&*+\-:<=>@[\]\\^_`{}~]|(?<![A-Za-z0-9])(?:https?:\/\/|www\.)/gi;
/** @type {Record<string, string>} */
const CLOSING = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };
// What may begin a formula is compared with up to 5000 characters.
const FORMULA_STEPS = 64;
const NUMBER = /^[0-9]{1,3}$/;

/** @param {MarkdownIt} parser */
export function addInlineRules(parser) {
  const { inline, helpers, utils } = parser;
  const { parseLinkLabel } = helpers;
  helpers.parseLinkLabel = (state, start, disableNested) => (last(state, "]") > start ? parseLinkLabel(state, start, disableNested) : -1);
  inline.ruler.at("text", plainText);
  inline.ruler.after("text", "address", addressRule(utils.lib.mdurl.encode));
  inline.ruler.before("escape", "formula", formula);
  inline.ruler.before("link", "note", note);
  inline.ruler.before("autolink", "line_break", lineBreak);
}

/** @type {WeakMap<StateInline, Map<string, number>>} */
const lasts = new WeakMap();

/**
 * Return where a text is for the last time: searching it at each beginning would take quadratic time.
 *
 * @param {StateInline} state
 * @param {string} piece
 */
function last(state, piece) {
  const known = lasts.get(state) ?? new Map();
  lasts.set(state, known);
  if (!known.has(piece)) known.set(piece, state.src.lastIndexOf(piece));
  return known.get(piece);
}

/** @type {Rule} */
function plainText(state, silent) {
  STOP.lastIndex = state.pos;
  const end = Math.min(STOP.exec(state.src)?.index ?? state.posMax, state.posMax);
  if (end === state.pos) return false;
  if (!silent) state.pending += state.src.slice(state.pos, end);
  state.pos = end;
  return true;
}

/**
 * Return the rule for a bare address, without the punctuation at its end.
 *
 * @param {(address: string) => string} encode
 * @returns {Rule}
 */
function addressRule(encode) {
  return (state, silent) => {
    if (state.linkLevel) return false;
    const [found] = matchAt(ADDRESS, state.src, state.pos) ?? [];
    if (!found) return false;
    const shown = found.slice(0, state.posMax - state.pos).replace(ADDRESS_END, "");
    if (!silent) {
      state.push("link_open", "a", 1).attrs = [["href", encode(/^h/i.test(shown) ? shown : `https://${shown}`)]];
      state.push("text", "", 0).content = shown;
      state.push("link_close", "a", -1);
    }
    state.pos += shown.length;
    return true;
  };
}

/** @type {Rule} */
function formula(state, silent) {
  if (!/[\\$]/.test(state.src[state.pos])) return false;
  const closing = CLOSING[state.src.slice(state.pos, state.pos + 2)] ?? "$";
  if (last(state, closing) <= state.pos) return false;
  spend(FORMULA_STEPS);
  const found = formulaAt(state.src, state.pos, state.posMax);
  if (!found) return false;
  if (!silent) state.push("formula", "span", 0).content = found;
  state.pos += found.length;
  return true;
}

/**
 * The mark of a footnote in the text, or before the footnote. One whose label is a number needs no footnote.
 *
 * @type {Rule}
 */
function note(state, silent) {
  const match = matchAt(NOTE, state.src, state.pos, state.posMax);
  if (!match) return false;
  const [found, label] = match;
  const isKnown = label in /** @type {Definitions} */ (state.env).notes;
  const after = state.src[state.pos + found.length];
  if (after === "(" || !(isKnown || NUMBER.test(label))) return false;
  const isDefinition = isKnown && state.pos === 0 && after === ":";
  if (!silent) {
    const token = state.push("note", "sup", 0);
    token.content = label;
    token.meta = { isDefinition, isLink: isKnown && !state.linkLevel };
  }
  state.pos += found.length + (isDefinition ? 1 : 0);
  return true;
}

/** @type {Rule} */
function lineBreak(state, silent) {
  const [found] = matchAt(LINE_BREAK, state.src, state.pos, state.posMax) ?? [];
  if (!found) return false;
  if (!silent) state.push("hardbreak", "br", 0);
  state.pos += found.length;
  return true;
}
