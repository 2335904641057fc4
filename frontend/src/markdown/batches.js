/** Which new blocks are made together: making one by itself costs as much as five paragraphs. No DOM. */

/** @import { Block } from "./block.js" */

export const BATCH_BLOCKS = 16;
const BATCH_CHARACTERS = 8_192;

/**
 * Return the blocks at the beginning of a list that can be made together; none if the first one must be made by itself.
 *
 * @param {Block[]} list
 */
export function nextBatch(list) {
  /** @type {Block[]} */
  const batch = [];
  let characters = 0;
  for (const block of list.slice(0, BATCH_BLOCKS)) {
    characters += block.html.length;
    if (!block.html || block.open || (batch.length && characters > BATCH_CHARACTERS)) break;
    batch.push(block);
  }
  return batch;
}
