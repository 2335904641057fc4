/** The menu of a conversation in the list. There is one for all rows; its items are the buttons in it, by data-action. */

/** @import { ChatParts } from "./types" */

const GAP_PIXELS = 4;

export class RowMenu {
  #menu;
  #list;
  /** The id of the conversation that it is open for. */
  #conversation = "";

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {(action: string, conversation: string) => void} options.chosen
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, chosen, signal }) {
    this.#menu = parts.rowMenu;
    this.#list = parts.conversations;
    this.#menu.addEventListener("click", ({ target }) => {
      const item = /** @type {HTMLElement} */ (target).closest("button");
      if (!item) return;
      this.close();
      chosen(item.dataset.action ?? "", this.#conversation);
    }, { signal });
    this.#menu.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    this.#menu.addEventListener("toggle", (event) => this.#toggled(/** @type {ToggleEvent} */ (event)), { signal });
    parts.side.addEventListener("scroll", () => this.close(), { signal });
  }

  /**
   * Open the menu at a row's button, whose value is the conversation's id.
   *
   * @param {HTMLButtonElement} button
   */
  open(button) {
    this.#conversation = button.value;
    this.#menu.showPopover();
    this.#place(button.getBoundingClientRect());
    this.#items[0].focus();
  }

  close() {
    if (this.#isOpen) this.#menu.hidePopover();
  }

  get #isOpen() {
    return this.#menu.matches(":popover-open");
  }

  get #items() {
    return [...this.#menu.querySelectorAll("button")];
  }

  /**
   * Put it below the button, or above it if there is no room, with its end at the button's.
   *
   * @param {DOMRect} button
   */
  #place(button) {
    const { width, height } = this.#menu.getBoundingClientRect();
    const isRightToLeft = this.#menu.matches(":dir(rtl)");
    const left = isRightToLeft ? button.left : button.right - width;
    const below = button.bottom + GAP_PIXELS;
    const top = below + height > innerHeight ? button.top - height - GAP_PIXELS : below;
    this.#menu.style.left = `${Math.max(GAP_PIXELS, Math.min(left, innerWidth - width - GAP_PIXELS))}px`;
    this.#menu.style.top = `${Math.max(GAP_PIXELS, top)}px`;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const items = this.#items;
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    const target = targets[event.key];
    if (event.key === "Tab") this.close();
    if (target === undefined) return;
    event.preventDefault();
    items.at(target % items.length)?.focus();
  }

  /** @param {ToggleEvent} event */
  #toggled({ newState }) {
    // The list may have been shown again since then, with another button for the same conversation.
    const opener = [...this.#list.querySelectorAll("button")].find(({ value }) => value === this.#conversation);
    opener?.setAttribute("aria-expanded", String(newState === "open"));
    if (newState === "closed" && document.activeElement === document.body) opener?.focus();
  }
}
