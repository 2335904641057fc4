/** Text and addresses as HTML, and which addresses may be links. No DOM. */

import markup from "../../../streaming_chat/rendering/allowed_html.json" with { type: "json" };

const SAFE_ADDRESS = new RegExp(`^${markup.address}`, "i");
// What is not part of a character reference.
const TEXT = /[<>"]|&(?!(?:#\d{1,7}|#x[a-f\d]{1,6}|\w+);)/gi;
const ESCAPED = /\\([!-/:-@[-`{-~])/g;
/** @type {Record<string, string>} */
const NAMES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * Whether a link may lead to this address. Relative addresses may not: they would be pages of this site.
 *
 * @param {string} address
 */
export function isSafe(address) {
  return SAFE_ADDRESS.test(address);
}

/**
 * Return text as HTML. Nothing in it is a character reference.
 *
 * @param {string} text
 */
export function escape(text) {
  return text.replace(/[&<>"]/g, (character) => NAMES[character]);
}

/**
 * Return text that may contain character references as HTML.
 *
 * @param {string} text
 */
export function escapeText(text) {
  return text.replace(TEXT, (character) => NAMES[character]);
}

/**
 * Return a link's title, in which a backslash escapes punctuation, as HTML.
 *
 * @param {string} title
 */
export function escapeTitle(title) {
  return title.split(ESCAPED).map((piece, index) => (index % 2 ? escape(piece) : escapeText(piece))).join("");
}

/** @param {string} text */
export function unescape(text) {
  return text.replace(ESCAPED, "$1");
}

/** @param {string} address */
export function encode(address) {
  return encodeURI(address.toWellFormed?.() ?? address).replaceAll("%25", "%");
}
