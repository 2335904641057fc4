/** The menu of a conversation in the list. There is one for all rows; its items are the buttons in it, by data-action. */

import { PopupMenu } from "./popup-menu.js";

/** @import { ChatParts } from "./types" */

export class RowMenu {
  #menu;
  /** The id of the conversation that it is open for. */
  #conversation = "";

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {(action: string, conversation: string) => void} options.chosen
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, chosen, signal }) {
    // The list may have been shown again, with another button for the same conversation.
    const findOpener = () => [...parts.conversations.querySelectorAll("button")].find(({ value }) => value === this.#conversation);
    this.#menu = new PopupMenu({
      menu: parts.rowMenu,
      findOpener,
      chosen: (item) => chosen(item.dataset.action ?? "", this.#conversation),
      signal,
    });
    parts.side.addEventListener("scroll", () => this.#menu.close(), { signal });
  }

  /**
   * Open the menu at a row's button, whose value is the conversation's id.
   *
   * @param {HTMLButtonElement} button
   */
  open(button) {
    this.#conversation = button.value;
    this.#menu.open(button);
  }
}
