/** The sidebar in a narrow window: it is hidden, and a button opens it over the messages. */

/** @import { ChatParts } from "./types" */

export class Sidebar {
  #parts;

  /** @param {{parts: ChatParts, signal: AbortSignal}} options */
  constructor({ parts, signal }) {
    this.#parts = parts;
    parts.menu.addEventListener("click", () => this.toggle(!this.isOpen, { moveFocus: true }), { signal });
    parts.main.addEventListener("click", ({ target }) => this.#clickedOutside(/** @type {Node} */ (target)), { signal });
  }

  get isOpen() {
    return this.#parts.frame.classList.contains("sc-open");
  }

  /** @param {boolean} open */
  toggle(open, { moveFocus = false } = {}) {
    this.#parts.frame.classList.toggle("sc-open", open);
    this.#parts.menu.setAttribute("aria-expanded", String(open));
    if (moveFocus) (open ? this.#parts.new : this.#parts.menu).focus();
  }

  /** @param {Node} target */
  #clickedOutside(target) {
    if (this.isOpen && !this.#parts.menu.contains(target)) this.toggle(false);
  }
}
