/** Keys that several parts of the page understand. */

/**
 * Whether a key is the Enter that sends: it neither ends a composition nor starts a new line. With Ctrl or ⌘ it always sends.
 *
 * @param {KeyboardEvent} event
 */
export function isSendKey(event) {
  // Safari reports 229 for the Enter that ends a composition, when isComposing is false again.
  const isComposing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || isComposing) return false;
  return event.ctrlKey || event.metaKey || (!event.shiftKey && !isTouchScreen());
}

/** Whether the user touches the screen. Its keyboard has no Shift+Enter, so Enter starts a new line there. */
export function isTouchScreen() {
  return matchMedia("(pointer: coarse)").matches;
}

/**
 * Call back on Escape within an element, and keep the key from everything around it.
 *
 * @param {HTMLElement} element
 * @param {() => void} call
 */
export function onEscape(element, call) {
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    call();
  });
}

/**
 * Whether a click should be left to the browser, which opens the link in another tab or window.
 *
 * @param {MouseEvent} event
 */
export function hasModifier(event) {
  return event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
}
