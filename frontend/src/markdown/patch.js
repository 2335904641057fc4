/** Changing what is shown as little as possible, so that a selection, the focus and a copied code's button stay. */

/** Make one node what another is, keeping all of it that is the same; return the node that stands there now. */
export function patch(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
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
    else old.append(child);
  }
  while (old.childNodes.length > children.length) old.lastChild.remove();
  return old;
}

/** Make a text node hold text; where that only grew, what was there is left alone. */
export function patchText(node, text) {
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}

function isAlike(old, fresh) {
  return old.nodeType === Node.ELEMENT_NODE && old.cloneNode(false).isEqualNode(fresh.cloneNode(false));
}
