/** Files that are pasted or dropped: they are refused with an explanation. Without this, a dropped file would replace the page. */

/**
 * @param {object} options
 * @param {HTMLElement | Document} options.area Where files are refused.
 * @param {() => void} options.refused Explains it.
 * @param {AbortSignal} options.signal
 */
export function refuseFiles({ area, refused, signal }) {
  const refuse = (/** @type {Event} */ event, /** @type {DataTransfer | null} */ data) => {
    // The site may take files in a part of its own.
    if (event.defaultPrevented || !isFiles(data)) return;
    event.preventDefault();
    if (event.type !== "dragover") refused();
  };
  area.addEventListener("paste", (event) => refuse(event, /** @type {ClipboardEvent} */ (event).clipboardData), { signal });
  area.addEventListener("dragover", (event) => refuse(event, /** @type {DragEvent} */ (event).dataTransfer), { signal });
  area.addEventListener("drop", (event) => refuse(event, /** @type {DragEvent} */ (event).dataTransfer), { signal });
}

/**
 * Whether these are files and nothing else: what an office program copies has a picture of the text beside the text.
 *
 * @param {DataTransfer | null} data
 */
function isFiles(data) {
  return data !== null && data.types.includes("Files") && !data.types.includes("text/plain");
}
