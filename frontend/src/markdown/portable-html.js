/** What is shown, as HTML for the clipboard: a table is pasted as a table, code as code. */

import { plainText } from "./plain.js";

/** @param {Element} shown */
export function portableHtml(shown) {
  const copy = /** @type {Element} */ (shown.cloneNode(true));
  for (const plain of copy.querySelectorAll(".sc-plain")) plain.replaceWith(preformatted(plainText(plain)));
  for (const bar of copy.querySelectorAll(".sc-code-bar")) bar.remove();
  for (const formula of copy.querySelectorAll("[data-formula]")) formula.textContent = formula.getAttribute("data-formula");
  for (const box of copy.querySelectorAll("input")) box.replaceWith(box.hasAttribute("checked") ? "☑" : "☐");
  for (const frame of copy.querySelectorAll(".sc-code, .sc-table, pre span, .math")) frame.replaceWith(...frame.childNodes);
  for (const link of copy.querySelectorAll('a[href^="#"]')) link.replaceWith(...link.childNodes);
  for (const element of copy.querySelectorAll("*")) removeAttributes(element);
  return copy.innerHTML;
}

/**
 * Remove what belongs to this page.
 *
 * @param {Element} element
 */
function removeAttributes(element) {
  for (const name of ["id", "class", "tabindex", "role", "aria-label", "rel", "target"]) element.removeAttribute(name);
}

/** @param {string} text */
function preformatted(text) {
  return Object.assign(document.createElement("pre"), { textContent: text });
}
