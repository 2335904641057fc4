/** Tables: a frame that scrolls, and new rows without making the other rows again. */

import { patch } from "./patch.js";

/** @import { MarkdownTexts } from "../types" */

// It appears nowhere else in a table's HTML: in text, "<" is an entity.
const ROW = "<tr>";

/**
 * Put a frame around `table`.
 *
 * @param {HTMLTableElement} table
 * @param {MarkdownTexts} texts
 */
export function frameTable(table, texts) {
  const frame = document.createElement("div");
  frame.className = "sc-table";
  frame.tabIndex = 0;
  // A group, not a region: regions are landmarks of the page, and these would all have the same name.
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", texts.table);
  table.replaceWith(frame);
  frame.append(table);
}

/**
 * Update a table in its frame. Returns false if the table must be made again.
 *
 * Cleaning is three quarters of the cost of making a table, so only changed rows are cleaned.
 *
 * @param {Node} frame
 * @param {string} before The HTML that is shown.
 * @param {string} html
 * @param {(html: string) => DocumentFragment} clean
 */
export function growTable(frame, before, html, clean) {
  const old = before.split(ROW);
  const fresh = html.split(ROW);
  const first = fresh.findIndex((row, index) => row !== old[index]);
  // Before the rows are the table's start tags and its header.
  if (!html.startsWith("<table") || first < 2) return false;
  const body = /** @type {HTMLTableSectionElement} */ (/** @type {Element} */ (frame).querySelector("tbody"));
  const rows = clean(`<table><tbody>${ROW}${fresh.slice(first).join(ROW)}`).querySelectorAll("tr");
  for (const [index, row] of rows.entries()) {
    const shown = body.rows[first - 2 + index];
    if (shown) patch(shown, row);
    else body.append(row);
  }
  while (body.rows.length > fresh.length - 2) body.lastElementChild?.remove();
  return true;
}
