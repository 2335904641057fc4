/** Reads a text to which nothing more will be added. No DOM. */

import { makeBlock, plainBlock } from "./block.js";
import { define, isEmpty, read } from "./dialect.js";
import { isShown } from "./pieces.js";

/**
 * @import { MarkdownTexts } from "../types"
 * @import { Block } from "./block.js"
 * @import { Budget } from "./budget.js"
 * @import { Source } from "./dialect.js"
 */

/**
 * Read the blocks of a text into `list`; what is over the budget is plain text. Yields how many, from the first, are as they will be.
 * Returns whether the text was formatted and the old blocks are among its blocks, none of which needed a definition.
 *
 * @param {string} source
 * @param {Block[]} list
 * @param {{old: Block[], texts: MarkdownTexts, budget: Budget}} options old: the blocks that were finished while the text grew.
 * @returns {Generator<number, boolean>}
 */
export function* readWhole(source, list, { old, texts, budget }) {
  /** @type {Source[]} */
  const tokens = [];
  const isRead = yield* readAll(source, tokens, budget);
  const links = define(tokens);
  const hasLinks = !isEmpty(links);
  const shown = tokens.filter(isShown);
  let count = 0;
  for (const token of shown) {
    const known = knownBlock(old[count], token, hasLinks);
    const block = budget.attempt(() => (known ? keep(known, budget) : makeBlock(token, { texts, links, budget })));
    if (!block) break;
    list[count] = block;
    count += 1;
    if (!known) yield count;
  }
  list.length = count;
  const end = shown[count]?.start ?? (isRead ? source.length : (tokens.at(-1)?.end ?? 0));
  if (end < source.length) list.push(plainBlock(source.slice(end)));
  return !hasLinks && end === source.length && old.every((block, index) => block.isOf(shown[index]));
}

/**
 * Read the blocks of a text; return whether all of it was read.
 *
 * @param {string} source
 * @param {Source[]} tokens What was read.
 * @param {Budget} budget
 * @returns {Generator<number, boolean>}
 */
function* readAll(source, tokens, budget) {
  const blocks = read(source);
  let found;
  while ((found = budget.attempt(() => blocks.next())) && !found.done) {
    tokens.push(found.value);
    yield 0;
  }
  return found !== undefined;
}

/**
 * Return the block that shows a token already, null if there is none.
 *
 * @param {Block | undefined} old
 * @param {Source} token
 * @param {boolean} hasLinks Whether the text defines links, which it may have used before.
 */
function knownBlock(old, token, hasLinks) {
  return old?.isOf(token) && !(hasLinks && token.raw.includes("[")) ? old : null;
}

/**
 * @param {Block} block
 * @param {Budget} budget
 */
function keep(block, budget) {
  budget.add(block.elements);
  return block;
}
