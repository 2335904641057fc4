/** The texts of tests/limits/degenerate_markdown.json, which tests/limits/degenerate_markdown.py describes. */

import { readFile } from "node:fs/promises";

const INPUTS = JSON.parse(await readFile(new URL("../../tests/limits/degenerate_markdown.json", import.meta.url)));

export const NAMES = Object.keys(INPUTS);

/** Return the text with this name: as many units as fit into `size` characters. */
export function degenerate(name, size) {
  const found = INPUTS[name];
  const { unit, start = "", middle = "", end = "", closing = "", grow = "" } = typeof found === "string" ? { unit: found } : found;
  let room = size - start.length - middle.length - end.length;
  const units = [];
  for (;;) {
    const next = unit.replaceAll("{n}", units.length).replaceAll("{grow}", grow.repeat(units.length % 100));
    room -= next.length + closing.length;
    if (room < 0) return start + units.join("") + middle + closing.repeat(units.length) + end;
    units.push(next);
  }
}
