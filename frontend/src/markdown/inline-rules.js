/** What there is in the text of a block: emphasis, code, links, formulas and so on. No DOM. */

import { spend } from "./budget.js";
import { scanRun } from "./delimiters.js";
import { encode, escape, isSafe } from "./escaping.js";
import { readImage, readLink } from "./links.js";
import { ADDRESS, ADDRESS_END, formulaAt, LINE_BREAK, matchAt, NOTE } from "./syntax.js";

/** @import { Rule } from "./inline.js" */

const STOP = /[\n!#$%&*+\-:<=>@[\]\\^_`{}~]|(?<![A-Za-z0-9])(?:https?:\/\/|www\.)/gi;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const AUTOLINK = /<([a-z][a-z0-9+.-]{1,31}:[^<>\p{Cc} ]*)>/iuy;
const EMAIL = /<([\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)>/iy;
/** @type {Record<string, string>} */
const CLOSING = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };
// What may begin a formula is compared with up to 5000 characters.
const FORMULA_STEPS = 64;
const NUMBER = /^[0-9]{1,3}$/;

/** @type {Rule} */
function plainText(state, isSilent) {
  STOP.lastIndex = state.position;
  const end = Math.min(STOP.exec(state.text)?.index ?? state.end, state.end);
  if (end === state.position) return false;
  if (!isSilent) state.addText(state.text.slice(state.position, end));
  state.position = end;
  return true;
}

/** @type {Rule} */
function address(state, isSilent) {
  if (state.linkLevel) return false;
  const [found] = matchAt(ADDRESS, state.text, state.position) ?? [];
  if (!found) return false;
  const shown = found.slice(0, state.end - state.position).replace(ADDRESS_END, "");
  if (!isSilent) {
    const href = /^h/i.test(shown) ? shown : `https://${shown}`;
    state.add(`<a href="${escape(encode(href))}">`);
    state.add(escape(shown), escape(shown));
    state.add("</a>");
  }
  state.position += shown.length;
  return true;
}

/** @type {Rule} */
function newline(state, isSilent) {
  if (state.text[state.position] !== "\n") return false;
  state.position += 1;
  if (!isSilent) {
    state.trimText();
    state.add("<br>", "\n");
  }
  while (state.position < state.end && /[ \t]/.test(state.text[state.position])) state.position += 1;
  return true;
}

/** @type {Rule} */
function formula(state, isSilent) {
  if (!/[\\$]/.test(state.text[state.position])) return false;
  const closing = CLOSING[state.text.slice(state.position, state.position + 2)] ?? "$";
  if (state.last(closing) <= state.position) return false;
  spend(FORMULA_STEPS);
  const found = formulaAt(state.text, state.position, state.end);
  if (!found) return false;
  if (!isSilent) state.add(`<span class="math" dir="ltr">${escape(found)}</span>`);
  state.position += found.length;
  return true;
}

/** @type {Rule} */
function backslash(state, isSilent) {
  const { text, position } = state;
  if (text[position] !== "\\" || position + 1 >= state.end) return false;
  if (text[position + 1] === "\n") {
    state.position += 1;
    return newline(state, isSilent);
  }
  const character = String.fromCodePoint(text.codePointAt(position + 1) ?? 32);
  if (!isSilent) {
    if (ESCAPABLE.test(character)) state.add(escape(character), escape(character));
    else state.addText(`\\${character}`);
  }
  state.position += 1 + character.length;
  return true;
}

/** @type {Rule} */
function code(state, isSilent) {
  const { text, position, end } = state;
  if (text[position] !== "`") return false;
  let start = position + 1;
  while (start < end && text[start] === "`") start += 1;
  const length = start - position;
  const closing = state.lastTicks(length) < start ? -1 : closingTicks(text, start, end, length);
  if (closing < 0) {
    if (!isSilent) state.addText(text.slice(position, start));
    state.position = start;
    return true;
  }
  const content = text.slice(start, closing).replaceAll("\n", " ").replace(/^ (.*[^ ].*) $/, "$1");
  if (!isSilent) state.add(`<code>${escape(content)}</code>`, escape(content));
  state.position = closing + length;
  return true;
}

/**
 * Return where the run of so many backticks is that closes a piece of code, -1 for nowhere.
 *
 * @param {string} text
 * @param {number} start
 * @param {number} end
 * @param {number} length
 */
function closingTicks(text, start, end, length) {
  const ticks = /`+/g;
  ticks.lastIndex = start;
  for (let match; (match = ticks.exec(text)) && ticks.lastIndex <= end; ) {
    spend();
    if (match[0].length === length) return match.index;
  }
  return -1;
}

/** @type {Rule} */
function strikethrough(state, isSilent) {
  if (isSilent || state.text[state.position] !== "~") return false;
  const { length, opens, closes } = scanRun(state.text, state.position, state.end, true);
  if (length < 2) return false;
  if (length % 2) state.add("~", "~");
  for (let left = length; left >= 2; left -= 2) state.addDelimiter({ mark: "~", size: 0, opens, closes }, "~~");
  state.position += length;
  return true;
}

/** @type {Rule} */
function emphasis(state, isSilent) {
  const character = state.text[state.position];
  if (isSilent || (character !== "*" && character !== "_")) return false;
  const { length, opens, closes } = scanRun(state.text, state.position, state.end, character === "*");
  for (let left = length; left > 0; left -= 1) state.addDelimiter({ mark: character, size: length, opens, closes });
  state.position += length;
  return true;
}

/**
 * The mark of a footnote in the text, or before the footnote. One whose label is a number needs no footnote.
 *
 * @type {Rule}
 */
function note(state, isSilent) {
  const match = matchAt(NOTE, state.text, state.position, state.end);
  if (!match) return false;
  const [found, label] = match;
  const known = state.options.links[`^${label}`];
  const after = state.text[state.position + found.length];
  if (after === "(" || !(known || NUMBER.test(label))) return false;
  const isDefinition = Boolean(known) && state.position === 0 && after === ":";
  if (!isSilent) {
    if (isDefinition) state.add(`<sup id="${noteId(label)}">${escape(label)}</sup>`);
    else if (known && !state.linkLevel) state.add(`<sup><a href="#${noteId(label)}">${escape(label)}</a></sup>`);
    else state.add(`<sup>${escape(label)}</sup>`);
  }
  state.position += found.length + (isDefinition ? 1 : 0);
  return true;
}

/** @param {string} label */
function noteId(label) {
  return `fn-${label.replace(/[^A-Za-z0-9-]/gu, (character) => `_${character.codePointAt(0)?.toString(16)}`)}`;
}

/** @type {Rule} */
function lineBreak(state, isSilent) {
  const [found] = matchAt(LINE_BREAK, state.text, state.position, state.end) ?? [];
  if (!found) return false;
  if (!isSilent) state.add("<br>", "\n");
  state.position += found.length;
  return true;
}

/** @type {Rule} */
function autolink(state, isSilent) {
  const link = matchAt(AUTOLINK, state.text, state.position, state.end);
  const match = link ?? matchAt(EMAIL, state.text, state.position, state.end);
  if (!match) return false;
  const href = encode(link ? match[1] : `mailto:${match[1]}`);
  if (!isSafe(href)) return false;
  if (!isSilent) state.add(`<a href="${escape(href)}">${escape(match[1])}</a>`, escape(match[1]));
  state.position += match[0].length;
  return true;
}

/** @type {Rule[]} */
export const RULES = [
  plainText, address, newline, formula, backslash, code, strikethrough, emphasis, note, readLink, readImage, lineBreak, autolink,
];
