/** Tables: a frame that scrolls, and rows that come without making the others again. */

import { patch } from "./patch.js";
import { clean } from "./sanitizer.js";

// In the HTML of a table nothing else reads so: text has its marks as entities.
const ROW = "<tr>";

/** Put a frame around `table`. */
export function frameTable(table, words) {
  const outer = document.createElement("div");
  outer.className = "sc-table";
  outer.tabIndex = 0;
  // A group, not a region: each would be a landmark of the page, all with one name.
  outer.setAttribute("role", "group");
  outer.setAttribute("aria-label", words.table);
  table.replaceWith(outer);
  outer.append(table);
}

/**
 * Make a table in its frame, which shows the HTML of before, show this one; return false where that takes a new table.
 *
 * Of 32 KB, cleaning is 28 ms of the 37 that it takes to make all of it again (Chromium 156).
 */
export function growTable(outer, before, html) {
  const old = before.split(ROW);
  const fresh = html.split(ROW);
  const first = fresh.findIndex((row, index) => row !== old[index]);
  // Before the rows there are the table's start and its header.
  if (!html.startsWith("<table") || first < 2) return false;
  const body = outer.querySelector("tbody");
  const rows = clean(`<table><tbody>${ROW}${fresh.slice(first).join(ROW)}`).querySelectorAll("tr");
  for (const [index, row] of rows.entries()) {
    const shown = body.rows[first - 2 + index];
    if (shown) patch(shown, row);
    else body.append(row);
  }
  while (body.rows.length > fresh.length - 2) body.lastElementChild.remove();
  return true;
}
