/** The direction of blocks, which the browser finds out by their text. */

const DIRECTED = "p, h1, h2, h3, h4, h5, h6, blockquote, ul, ol, table";

/**
 * Let the direction of a block depend on its text; return the block.
 *
 * @param {ChildNode} node
 */
export function direct(node) {
  const block = directed(node);
  if (block) block.dir = "auto";
  return node;
}

/**
 * Change a block. With a direction, the browser would look at all of its text again with each node that is added.
 *
 * @param {ChildNode} node
 * @param {() => void} change
 */
export function withoutDirection(node, change) {
  directed(node)?.removeAttribute("dir");
  change();
}

/**
 * Return the element of a block that has a direction.
 *
 * @param {ChildNode} node
 * @returns {HTMLElement | null}
 */
function directed(node) {
  if (!(node instanceof HTMLElement)) return null;
  if (node.matches(DIRECTED)) return node;
  return node.matches(".sc-table") ? /** @type {HTMLElement | null} */ (node.firstElementChild) : null;
}
