/** Copying text to the clipboard. */

/**
 * Return whether the text is on the clipboard now. The focus and the selection stay where they are.
 *
 * @param {string} text
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without TLS have no navigator.clipboard, only the old command, which dispatches an event to be filled.
    return copyByCommand(text);
  }
}

/** @param {string} text */
function copyByCommand(text) {
  let isCopied = false;
  const fill = (/** @type {ClipboardEvent} */ event) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
    isCopied = true;
  };
  document.addEventListener("copy", fill, { capture: true });
  try {
    document.execCommand("copy");
  } finally {
    document.removeEventListener("copy", fill, { capture: true });
  }
  return isCopied;
}
