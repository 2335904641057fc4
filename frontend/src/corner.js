/** The layout "corner": a button in the corner of the page opens and closes the chat. */

/** @import { ChatParts } from "./types" */

export class Corner {
  #parts;
  #key;
  #storage;
  /** @type {(() => void) | null} */
  #firstOpened;

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {string} options.scope Separates elements and users.
   * @param {() => void} options.firstOpened Called when the chat is opened for the first time on this page.
   * @param {AbortSignal} options.signal
   * @param {Storage} [options.storage] Remembers in this tab that the chat is open.
   */
  constructor({ parts, scope, firstOpened, signal, storage = sessionStorage }) {
    this.#parts = parts;
    this.#key = `streaming_chat:corner:${scope}`;
    this.#storage = storage;
    this.#firstOpened = firstOpened;
    parts.launcherLink.hidden = true;
    parts.launcher.hidden = false;
    parts.launcher.addEventListener("click", () => this.toggle(!this.isOpen), { signal });
    parts.close.addEventListener("click", () => this.toggle(false), { signal });
    if (this.#wasOpen()) this.toggle(true, { moveFocus: false });
  }

  get isOpen() {
    return !this.#parts.frame.hidden;
  }

  /** @param {boolean} open */
  toggle(open, { moveFocus = true } = {}) {
    this.#parts.frame.hidden = !open;
    this.#parts.launcher.setAttribute("aria-expanded", String(open));
    this.#remember(open);
    if (open) {
      this.#firstOpened?.();
      this.#firstOpened = null;
    }
    if (moveFocus) (open ? this.#parts.text : this.#parts.launcher).focus();
  }

  #wasOpen() {
    try {
      return this.#storage.getItem(this.#key) === "open";
    } catch {
      return false;
    }
  }

  /** @param {boolean} open */
  #remember(open) {
    try {
      this.#storage.setItem(this.#key, open ? "open" : "closed");
    } catch {
      // Without storage the chat is closed on the next page.
    }
  }
}
