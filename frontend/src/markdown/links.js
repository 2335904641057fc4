/** Links and images in inline text. No DOM. */

import { spend } from "./budget.js";
import { encode, escape, escapeText, escapeTitle, isSafe, unescape } from "./escaping.js";
import { Inline } from "./inline.js";

/** @import { Rule } from "./inline.js" */

/** Where a link leads; end: where its source ends. @typedef {{href: string, title: string, end: number}} Target */

const SPACE = /[ \t\n]*/y;
const ANGLED = /<((?:\\[^\n]|[^<>\\\n])*)>/y;
const TITLE = /"((?:\\[^]|[^"\\])*)"|'((?:\\[^]|[^'\\])*)'|\(((?:\\[^]|[^()\\])*)\)/y;
const DESTINATION_END = /[\p{Cc} ]/u;
/** @type {Record<string, number>} */
const DEPTHS = { "(": 1, ")": -1 };
const MAX_PARENTHESES = 32;

/** @type {Rule} */
export function readLink(state, isSilent) {
  if (state.text[state.position] !== "[") return false;
  const { position } = state;
  const labelEnd = findLabelEnd(state, position, true);
  const target = labelEnd < 0 ? null : findTarget(state, position, labelEnd);
  if (!target) return false;
  if (!isSilent) {
    state.position = position + 1;
    state.addLink(startTag(target), labelEnd);
  }
  state.position = target.end;
  return true;
}

/** @type {Rule} */
export function readImage(state, isSilent) {
  const { text, position } = state;
  if (text[position] !== "!" || text[position + 1] !== "[") return false;
  const labelEnd = findLabelEnd(state, position + 1, false);
  const target = labelEnd < 0 ? null : findTarget(state, position + 1, labelEnd);
  if (!target) return false;
  if (!isSilent) {
    const alt = new Inline(text.slice(position + 2, labelEnd), state.options).read().map(({ plain }) => plain).join("");
    state.add(describe(target.href, alt, state.options.image, state.linkLevel > 0), alt);
  }
  state.position = target.end;
  return true;
}

/**
 * Return the description and address of an image. The image is not loaded: that would tell its host who reads the reply.
 *
 * @param {string} href
 * @param {string} alt
 * @param {string} image
 * @param {boolean} isInLink
 */
function describe(href, alt, image, isInLink) {
  const shown = escapeText(encode(href));
  /** @type {Record<string, string>} */
  const values = { alt, address: isSafe(encode(href)) && !isInLink ? `<a href="${shown}">${shown}</a>` : shown };
  return escape(image).replace(/\{(alt|address)\}/g, (_placeholder, name) => values[name]);
}

/** @param {Target} target */
function startTag({ href, title }) {
  return `<a href="${escapeText(encode(href))}"${title ? ` title="${escapeTitle(title)}"` : ""}>`;
}

/**
 * Return where the bracket is that closes the one at `start`, -1 for nowhere.
 *
 * @param {Inline} state
 * @param {number} start
 * @param {boolean} isLink A link's text contains no other link.
 */
function findLabelEnd(state, start, isLink) {
  if (state.last("]") <= start) return -1;
  const { position } = state;
  let depth = 1;
  let end = -1;
  state.position = start + 1;
  while (state.position < state.end) {
    spend();
    const before = state.position;
    const character = state.text[before];
    if (character === "]" && --depth === 0) {
      end = before;
      break;
    }
    state.skip();
    if (character !== "[") continue;
    if (state.position === before + 1) depth += 1;
    else if (isLink) break;
  }
  state.position = position;
  return end;
}

/**
 * Return where a link or an image leads whose text is in the brackets from `start` to `end`, null for nowhere.
 *
 * @param {Inline} state
 * @param {number} start
 * @param {number} end
 * @returns {Target | null}
 */
function findTarget(state, start, end) {
  const { text } = state;
  const inline = text[end + 1] === "(" ? inlineTarget(text, end + 2, state.end) : null;
  if (inline) return inline;
  const second = text[end + 1] === "[" ? findLabelEnd(state, end + 1, false) : -1;
  const label = (second >= 0 && text.slice(end + 2, second)) || text.slice(start + 1, end);
  const key = normalLabel(label);
  // A label of this form belongs to a footnote.
  const found = key.startsWith("^") ? undefined : state.options.links[key];
  return found ? { href: found.href, title: found.title ?? "", end: (second >= 0 ? second : end) + 1 } : null;
}

/**
 * Return a label in the form in which labels are compared.
 *
 * @param {string} label
 */
export function normalLabel(label) {
  return label.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase().toLowerCase();
}

/**
 * Return the target that begins behind a parenthesis, null for none or an unsafe one.
 *
 * @param {string} text
 * @param {number} start
 * @param {number} limit
 * @returns {Target | null}
 */
function inlineTarget(text, start, limit) {
  const destination = readDestination(text, skipSpace(text, start), limit);
  const href = destination ? unescape(destination.address) : "";
  if (!destination || !isSafe(encode(href))) return null;
  const { title, end } = readTitle(text, destination.end);
  return end < limit && text[end] === ")" ? { href, title, end: end + 1 } : null;
}

/**
 * Return the title behind an address, and where the spaces end that follow.
 *
 * @param {string} text
 * @param {number} start
 */
function readTitle(text, start) {
  const position = skipSpace(text, start);
  TITLE.lastIndex = position;
  const match = position > start ? TITLE.exec(text) : null;
  if (!match) return { title: "", end: position };
  return { title: match[1] ?? match[2] ?? match[3], end: skipSpace(text, position + match[0].length) };
}

/**
 * @param {string} text
 * @param {number} position
 */
function skipSpace(text, position) {
  SPACE.lastIndex = position;
  SPACE.exec(text);
  return SPACE.lastIndex;
}

/**
 * @param {string} text
 * @param {number} start
 * @param {number} limit
 * @returns {{address: string, end: number} | null}
 */
export function readDestination(text, start, limit) {
  if (text[start] === "<") {
    ANGLED.lastIndex = start;
    const match = ANGLED.exec(text);
    return match ? { address: match[1], end: ANGLED.lastIndex } : null;
  }
  let depth = 0;
  let position = start;
  for (; position < limit && !DESTINATION_END.test(text[position]); position += 1) {
    if (/^\\[^ ]/.test(text.slice(position, position + 2))) position += 1;
    else depth += DEPTHS[text[position]] ?? 0;
    if (depth < 0 || depth > MAX_PARENTHESES) break;
  }
  return position > start && depth <= 0 ? { address: text.slice(start, position), end: position } : null;
}
