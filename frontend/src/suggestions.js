/** What an empty chat suggests to ask: a click sends the text, or puts it into the composer to be completed. */

/** @import { ChatParts } from "./types" */

/**
 * @param {object} options
 * @param {ChatParts} options.parts
 * @param {{send(text: string): unknown, fill(text: string): void}} options.on
 * @param {AbortSignal} options.signal
 */
export function listenToSuggestions({ parts, on, signal }) {
  parts.empty.addEventListener("click", ({ target }) => {
    /** @type {HTMLElement | null} */
    const button = /** @type {Element} */ (target).closest("[data-suggestion]");
    if (!button) return;
    const text = button.dataset.suggestion ?? "";
    if ("send" in button.dataset) on.send(text);
    else on.fill(text);
  }, { signal });
}
