/**
 * Which conversation is in view. It is kept in the page's address where the chat is the page, else in this tab's storage, so that the
 * site's next page shows it again.
 */

import { TabStorage } from "./tab-storage.js";

export class ChatLocation {
  #element;
  #root;
  #isPage;
  #stored;
  /** The id of the conversation in view, "" for a new chat. */
  conversation;

  /**
   * @param {object} options
   * @param {HTMLElement} options.element
   * @param {string} options.root The app's address.
   * @param {boolean} options.isPage Whether the chat is the page.
   * @param {string} options.scope Separates elements and users.
   * @param {(id: string) => void} options.moved Called when the browser's Back or Forward leads to another conversation.
   * @param {AbortSignal} options.signal
   */
  constructor({ element, root, isPage, scope, moved, signal }) {
    this.#element = element;
    this.#root = root;
    this.#isPage = isPage;
    this.#stored = new TabStorage(`open:${scope}`);
    this.conversation = element.getAttribute("conversation") || (isPage ? "" : this.#stored.read());
    if (isPage) addEventListener("popstate", () => this.#addressChanged(moved), { signal });
  }

  /**
   * Go to a conversation, "" for a new chat.
   *
   * @param {string} conversation
   */
  go(conversation) {
    this.#set(conversation);
    if (this.#isPage) history.pushState(null, "", conversation ? `${this.#root}c/${conversation}` : this.#root);
    else this.#stored.write(conversation);
  }

  /** @param {(id: string) => void} moved */
  #addressChanged(moved) {
    const conversation = this.#fromAddress();
    // Only the fragment may have changed.
    if (conversation === this.conversation) return;
    this.#set(conversation);
    moved(conversation);
  }

  /** @param {string} conversation */
  #set(conversation) {
    this.conversation = conversation;
    this.#element.setAttribute("conversation", conversation);
  }

  #fromAddress() {
    const start = `${new URL(this.#root, location.href).pathname}c/`;
    return location.pathname.startsWith(start) ? location.pathname.slice(start.length) : "";
  }
}
