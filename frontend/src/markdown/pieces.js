/** Which blocks of a growing text cannot change any more. No DOM. */

/** @import { Source } from "./dialect.js" */

/** @param {Source} token */
export function isShown({ type }) {
  return type !== "reference_definition";
}

/**
 * Return how many of a tail's blocks cannot change any more.
 *
 * @param {Source[]} tokens
 * @param {string} tail
 */
export function finishedTokens(tokens, tail) {
  const last = tokens.at(-1);
  if (!last) return 0;
  const before = tokens.length - 1;
  if (last.isClosed && tail[last.start + last.raw.trimEnd().length] === "\n") return before + 1;
  const lines = tail.slice(last.start).split("\n").length - 1;
  // A table is not one before its second line.
  return lines > (last.type === "table_open" ? 1 : 0) ? before : Math.max(0, before - 1);
}
