/**
 * <streaming-chat>: a chat in any page. Its content comes with the page, in the light DOM (templates/streaming_chat/
 * element.html), so that the site's own styles reach it and it says something without this script.
 *
 * Attributes: root (address of the app, ending in a slash), conversation (id of the one in view, "" for a new chat),
 * layout (page, box or corner), name (tells the elements of one page apart).
 * Events, all bubbling: see `announce` in chat.js.
 */

import { Chat } from "./chat.js";

export class StreamingChat extends HTMLElement {
  connectedCallback() {
    if (!this.querySelector("[data-part=frame]")) return;
    this.chat = new Chat(this);
    this.chat.open();
  }

  disconnectedCallback() {
    this.chat?.close();
    this.chat = null;
  }
}
