/** Pieces of a text in Markdown that can be read on their own. No DOM. */

import { read } from "./dialect.js";

/** @import { Definitions, Token } from "./dialect.js" */

// Reading so many characters takes a few milliseconds.
export const WINDOW = 8_192;

/**
 * Yield the tokens of a text, some at a time. Their inline text can be read when the definitions are known.
 *
 * @param {string} source
 * @returns {Generator<Token[]>}
 */
export function* pieces(source) {
  let window = WINDOW;
  for (let start = 0; start < source.length; ) {
    const text = source.slice(start, start + window);
    const tokens = read(text);
    const isLast = start + window >= source.length;
    const found = isLast ? tokens : tokens.slice(0, finishedTokens(tokens, text));
    const length = isLast ? text.length : lengthOf(found, text);
    window = length ? WINDOW : window * 2;
    start += length;
    if (length) yield found;
  }
}

/**
 * Return how long the source of tokens is, from the beginning of a text; 0 if marked has changed the source of one.
 *
 * @param {Token[]} tokens
 * @param {string} text
 */
export function lengthOf(tokens, text) {
  let length = 0;
  for (const { raw } of tokens) {
    if (!text.startsWith(raw, length)) return 0;
    length += raw.length;
  }
  return length;
}

/**
 * Return the definitions among tokens; of several with the same label, the first.
 *
 * @param {Token[]} tokens
 * @returns {Definitions}
 */
export function linksOf(tokens) {
  /** @type {Definitions} */
  const links = Object.create(null);
  for (const { tag, href, title } of definitions(tokens)) links[tag] ??= { href, title };
  return links;
}

/** @param {Token} token */
export function isShown({ type }) {
  return type !== "space" && type !== "def";
}

/**
 * Return how many of a tail's tokens cannot change any more.
 *
 * @param {Token[]} tokens
 * @param {string} tail
 */
export function finishedTokens(tokens, tail) {
  const last = tokens.findLastIndex(({ type }) => type !== "space");
  if (last < 0) return 0;
  const from = tokens.slice(0, last).reduce((length, { raw }) => length + raw.length, 0);
  const lines = tail.slice(from).split("\n").length - 1;
  if (isClosedFence(tokens[last]) && tail[from + tokens[last].raw.trimEnd().length] === "\n") return last + 1;
  // A table is not one before its second line.
  if (lines > (tokens[last].type === "table" ? 1 : 0)) return last;
  return Math.max(0, tokens.slice(0, last).findLastIndex(({ type }) => type !== "space"));
}

/** @param {Token} token */
function isClosedFence({ type, raw, codeBlockStyle }) {
  if (type !== "code" || codeBlockStyle) return false;
  const [, run] = /^ {0,3}(`{3,}|~{3,})/.exec(raw) ?? [];
  return Boolean(run) && new RegExp(`\n {0,3}${run}${run[0]}* *\n?$`).test(raw);
}

/**
 * Return the definitions of links in tokens, also those in quotes and lists.
 *
 * @param {Token[]} tokens
 * @returns {Token[]}
 */
export function definitions(tokens) {
  return tokens.flatMap((token) => {
    if (token.type === "def" || token.type === "note") return [token];
    return definitions(token.items ?? (token.type === "blockquote" || token.type === "list_item" ? token.tokens : []) ?? []);
  });
}
