/** Footnotes: their names on a page, and links to them. */

/**
 * @param {DocumentFragment} content New content, in which the names of footnotes are not unique.
 * @param {string} prefix
 */
export function nameNotes(content, prefix) {
  for (const mark of content.querySelectorAll("sup[id]")) mark.id = mark.id.replace("fn-", prefix);
  for (const link of content.querySelectorAll('a[href^="#fn-"]')) {
    link.setAttribute("href", link.getAttribute("href")?.replace("fn-", prefix) ?? "");
  }
}

/**
 * Show a footnote without changing the page's address, which belongs to the chat.
 *
 * @param {MouseEvent} event
 * @param {Element} text Where the footnote is.
 */
export function followNote(event, text) {
  const href = /** @type {Element} */ (event.target).closest("a")?.getAttribute("href");
  if (!href?.startsWith("#")) return;
  event.preventDefault();
  const note = /** @type {HTMLElement | null} */ (text.querySelector(`[id="${CSS.escape(href.slice(1))}"]`));
  if (!note) return;
  note.tabIndex = -1;
  note.focus({ preventScroll: true });
  note.scrollIntoView({ block: "nearest" });
}
