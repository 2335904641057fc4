/** The layout "corner": a button in the corner of the page opens and closes the chat. */

import { keepText } from "./drafts.js";
import { TabStorage } from "./tab-storage.js";

/** @import { ChatParts } from "./types" */

export class Corner {
  #parts;
  #root;
  // "open" if the chat was open on the last page.
  #stored;
  /** @type {(() => void) | null} */
  #firstOpened;

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {string} options.root The app's address.
   * @param {() => string} options.text Returns what is typed.
   * @param {string} options.scope Separates elements and users.
   * @param {() => void} options.firstOpened Called when the chat is opened for the first time on this page.
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, root, scope, text, firstOpened, signal }) {
    this.#parts = parts;
    this.#root = root;
    this.#stored = new TabStorage(`corner:${scope}`);
    this.#firstOpened = firstOpened;
    parts.launcherLink.hidden = true;
    parts.launcher.hidden = false;
    parts.launcher.addEventListener("click", () => this.toggle(!this.isOpen), { signal });
    // The chat page has drafts of its own.
    parts.fullPage.addEventListener("click", () => keepText(root, text()), { signal });
    parts.close.addEventListener("click", () => this.toggle(false), { signal });
    if (this.#stored.read() === "open") this.toggle(true, { moveFocus: false });
  }

  get isOpen() {
    return !this.#parts.frame.hidden;
  }

  /**
   * Let the link to the full page lead to a conversation, "" for a new chat.
   *
   * @param {string} conversation
   */
  linkTo(conversation) {
    this.#parts.fullPage.href = conversation ? `${this.#root}c/${conversation}` : this.#root;
  }

  /** @param {boolean} open */
  toggle(open, { moveFocus = true } = {}) {
    this.#parts.frame.hidden = !open;
    this.#parts.launcher.setAttribute("aria-expanded", String(open));
    this.#stored.write(open ? "open" : "");
    if (open) {
      this.#firstOpened?.();
      this.#firstOpened = null;
    }
    if (moveFocus) (open ? this.#parts.text : this.#parts.launcher).focus();
  }
}
