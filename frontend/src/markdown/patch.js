/** Changes what is shown as little as possible, so that a selection, the focus and the state of a button stay. */

/**
 * Make one node like another, keeping everything that is the same; return the node that is in the page now.
 *
 * @param {ChildNode} old
 * @param {ChildNode} fresh
 * @returns {ChildNode}
 */
export function patch(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old instanceof Text && fresh instanceof Text) {
    patchText(old, fresh.data);
    return old;
  }
  if (!isAlike(old, fresh)) {
    old.replaceWith(fresh);
    return fresh;
  }
  const children = [...fresh.childNodes];
  for (const [index, child] of children.entries()) {
    const before = old.childNodes[index];
    if (before) patch(before, child);
    else old.appendChild(child);
  }
  while (old.childNodes.length > children.length) old.lastChild?.remove();
  return old;
}

/**
 * Make a text node hold a text; when the text only grew, the characters that were there are left alone.
 *
 * @param {Text} node
 * @param {string} text
 */
export function patchText(node, text) {
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}

/**
 * Whether two nodes are elements with the same name and attributes.
 *
 * @param {Node} old
 * @param {Node} fresh
 */
function isAlike(old, fresh) {
  return old.nodeType === Node.ELEMENT_NODE && old.cloneNode(false).isEqualNode(fresh.cloneNode(false));
}
