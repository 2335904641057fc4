/** Which blocks of a growing text cannot change any more. No DOM. */

/** @import { Token } from "./dialect.js" */

/** @param {Token} token */
export function isShown({ type }) {
  return type !== "def";
}

/**
 * Return how many of a tail's blocks cannot change any more.
 *
 * @param {Token[]} tokens
 * @param {string} tail
 */
export function finishedTokens(tokens, tail) {
  const last = tokens.at(-1);
  if (!last) return 0;
  const before = tokens.length - 1;
  if (last.isClosed && tail[last.start + last.raw.trimEnd().length] === "\n") return before + 1;
  const lines = tail.slice(last.start).split("\n").length - 1;
  // A table is not one before its second line.
  return lines > (last.type === "table" ? 1 : 0) ? before : Math.max(0, before - 1);
}
