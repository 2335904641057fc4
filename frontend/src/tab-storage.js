/** A text in this tab's session storage, which outlives a reload. If storage is full or forbidden, nothing is kept and nothing fails. */

export class TabStorage {
  #storage;
  /** Under which the browser stores it. */
  key;

  /**
   * @param {string} key
   * @param {Storage} [storage] sessionStorage by default.
   */
  constructor(key, storage) {
    this.key = `streaming_chat:${key}`;
    this.#storage = storage;
  }

  /** Return the text, "" when there is none. */
  read() {
    try {
      return this.#open().getItem(this.key) ?? "";
    } catch {
      return "";
    }
  }

  /** @param {string} text "" removes it. */
  write(text) {
    try {
      if (text) this.#open().setItem(this.key, text);
      else this.#open().removeItem(this.key);
    } catch {
      // The text is missing after a reload; nothing else depends on it.
    }
  }

  /** The property itself throws where a browser forbids storage. */
  #open() {
    return this.#storage ?? sessionStorage;
  }
}
