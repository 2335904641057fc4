/** Events that tell the site what happens in a chat. They are dispatched on the element and bubble; see docs/browser.md. */

/**
 * @param {HTMLElement} element
 * @param {"started" | "ended" | "error"} name
 * @param {Record<string, unknown>} detail Never the text of a message.
 */
export function dispatchPageEvent(element, name, detail) {
  element.dispatchEvent(new CustomEvent(`streaming-chat:${name}`, { bubbles: true, detail }));
}
