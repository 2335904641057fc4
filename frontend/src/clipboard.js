/** Copying text to the clipboard. */

/**
 * Return whether the text is on the clipboard now. The focus and the selection stay where they are.
 *
 * @param {string} text
 * @param {string} html What programs that format text take instead, "" for none.
 */
export async function copyText(text, html = "") {
  try {
    if (html) await navigator.clipboard.write([new ClipboardItem({ "text/plain": text, "text/html": html })]);
    else await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages without TLS have no navigator.clipboard, only the old command, which dispatches an event to be filled.
    return copyByCommand(text, html);
  }
}

/**
 * @param {string} text
 * @param {string} html
 */
function copyByCommand(text, html) {
  let isCopied = false;
  const fill = (/** @type {ClipboardEvent} */ event) => {
    event.clipboardData?.setData("text/plain", text);
    if (html) event.clipboardData?.setData("text/html", html);
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
