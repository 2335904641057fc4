/** Text that is shown as it was written, because formatting it would take too long; and the button that formats it all the same. */

/** @import { MarkdownTexts } from "../types" */

// The browser lays out a paragraph as a whole when text is added to it.
const PARAGRAPH = 4_096;

/**
 * Return an element that shows `text`.
 *
 * @param {string} text
 * @param {MarkdownTexts} texts
 * @param {boolean} isFinal Whether formatting it was tried with all the time that there is.
 */
export function makePlain(text, texts, isFinal) {
  const element = document.createElement("div");
  element.className = "sc-plain";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "sc-format";
  button.textContent = isFinal ? texts.not_formatted : texts.format;
  if (isFinal) button.setAttribute("aria-disabled", "true");
  element.append(button);
  growPlain(element, text, 0);
  return element;
}

/**
 * Show more of a text. Only its last paragraph changes, and new ones follow.
 *
 * @param {Element} element
 * @param {string} text
 * @param {number} shown How many of its characters are shown.
 */
export function growPlain(element, text, shown) {
  const paragraphs = element.querySelectorAll(":scope > p");
  const last = paragraphs[paragraphs.length - 1];
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
