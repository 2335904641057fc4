/** The keyboard focus, where the page changes under it. */

/**
 * Change the page. If the element that had the focus is no longer shown, the fallback gets it.
 *
 * @param {HTMLElement} frame Focus outside of it is left alone.
 * @param {() => void} change
 * @param {() => void} focusFallback
 */
export function keepFocus(frame, change, focusFallback) {
  const focused = document.activeElement;
  const isOurs = frame.contains(focused);
  change();
  if (isOurs && (!focused?.isConnected || focused.closest("[hidden]"))) focusFallback();
}
