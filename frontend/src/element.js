/**
 * <streaming-chat>: a chat in any page. The server writes its content into the page, in the light DOM (element.html), so that the
 * site's own styles apply and it says something without this script.
 *
 * Attributes: root (the app's address, ending in a slash), conversation (the id of the one in view, "" for a new chat), layout (page,
 * box or corner), name (tells the elements of one page apart). Events: see page-events.js.
 */

import { Chat } from "./chat.js";

export class StreamingChat extends HTMLElement {
  /** @type {Chat | null} */
  #chat = null;

  connectedCallback() {
    // A person who may not chat sees a link to the login instead.
    if (!this.querySelector("[data-part=frame]")) return;
    this.#chat = new Chat(this);
    this.#chat.open();
  }

  disconnectedCallback() {
    this.#chat?.close();
    this.#chat = null;
  }
}
