/** Copy text; return whether it is on the clipboard now. The focus and the selection stay where they are. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Sites without TLS have no such clipboard, only the old command, which fires an event to fill.
    return copyByCommand(text);
  }
}

function copyByCommand(text) {
  let isFilled = false;
  const fill = (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
    isFilled = true;
  };
  document.addEventListener("copy", fill, { capture: true });
  try {
    document.execCommand("copy");
  } finally {
    document.removeEventListener("copy", fill, { capture: true });
  }
  return isFilled;
}
