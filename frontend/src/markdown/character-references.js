/** In place of the package entities, whose table of names every browser has. */

import { clean } from "./sanitizer.js";

const MAX_REMEMBERED = 500;

/** @type {Map<string, string>} */
const known = new Map();

/**
 * Return the characters that a reference stands for, or the reference if there is no such name.
 *
 * @param {string} reference "&name;"
 */
export function decodeHTMLStrict(reference) {
  const characters = known.get(reference) ?? decode(reference);
  if (known.size >= MAX_REMEMBERED) known.clear();
  known.set(reference, characters);
  return characters;
}

/** @param {string} reference */
function decode(reference) {
  const { textContent } = clean(reference);
  // In HTML, "&notit;" is "¬it;".
  return textContent && (textContent === ";" || !textContent.endsWith(";")) ? textContent : reference;
}
