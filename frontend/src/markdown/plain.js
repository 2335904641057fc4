/** Text that is shown as it was written, because formatting it would take too long; and the button that formats it all the same. */

import { plainBlock } from "./block.js";
import { SLICE_ELEMENTS } from "./slices.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Block } from "./block.js"
 */

// The browser lays out a paragraph as a whole when text is added to it.
const PARAGRAPH = 4_096;
// So much is laid out within a frame, in any script.
const STEP = 8_192;

/**
 * Return an element for text that is shown as it was written.
 *
 * @param {MarkdownTexts} texts
 * @param {boolean} isFinal Whether formatting it was tried with all the time that there is.
 */
export function makePlain(texts, isFinal) {
  const element = document.createElement("div");
  element.className = "sc-plain";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sc-format";
  button.textContent = isFinal ? texts.not_formatted : texts.format;
  if (isFinal) button.setAttribute("aria-disabled", "true");
  element.append(button);
  return element;
}

/**
 * Show more of a text, some of it in each step, which fills a slice.
 *
 * @param {{block: Block, node: Node}} shown block: what is shown of it so far.
 * @param {Block} block
 */
export function* growPlain(shown, block) {
  for (let length = shown.block.raw.length; length < block.raw.length; length = shown.block.raw.length) {
    shown.block = plainBlock(block.raw.slice(0, length + STEP));
    grow(/** @type {Element} */ (shown.node), shown.block.raw, length);
    yield SLICE_ELEMENTS;
  }
  shown.block = block;
}

/**
 * Only the last paragraph changes, and new ones follow.
 *
 * @param {Element} element
 * @param {string} text
 * @param {number} shown How many of its characters are shown.
 */
function grow(element, text, shown) {
  // Before the button.
  const last = element.lastElementChild?.previousElementSibling;
  let from = last ? shown - (last.textContent ?? "").length : 0;
  last?.remove();
  while (from < text.length) {
    const end = paragraphEnd(text, from);
    const paragraph = document.createElement("p");
    paragraph.textContent = text.slice(from, end);
    paragraph.dir = "auto";
    element.lastElementChild?.before(paragraph);
    from = text[end] === "\n" ? end + 1 : end;
  }
}

/** @param {Element} element @returns {string} */
export function plainText(element) {
  return [...element.querySelectorAll("p")].map((paragraph) => paragraph.textContent).join("\n");
}

/**
 * Return where a paragraph ends that begins at `from`: at the end of a line if possible, otherwise not within a character.
 *
 * @param {string} text
 * @param {number} from
 */
function paragraphEnd(text, from) {
  const end = from + PARAGRAPH;
  if (end >= text.length) return text.length;
  const line = text.lastIndexOf("\n", end);
  if (line > from) return line;
  return /[\ud800-\udbff]/.test(text[end - 1]) ? end - 1 : end;
}
