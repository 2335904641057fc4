/** The chat in its page: in the layout "page" it fills the window, names the tab and takes keys that are pressed anywhere. */

export class PageLayout {
  #element;
  // Without the number of unread conversations.
  #title = document.title;
  // How many conversations are unread, as text; "" for none.
  #unread = "";

  /**
   * @param {object} options
   * @param {HTMLElement} options.element
   * @param {boolean} options.isPage Whether the layout is "page".
   * @param {AbortSignal} options.signal
   */
  constructor({ element, isPage, signal }) {
    this.#element = element;
    this.isPage = isPage;
    if (isPage) addEventListener("resize", () => this.fit(), { signal });
    signal.addEventListener("abort", () => this.setUnread(""));
  }

  /** Fill the window below what the site has above the chat. */
  fit() {
    if (!this.isPage) return;
    const top = this.#element.getBoundingClientRect().top + scrollY;
    this.#element.style.setProperty("--sc-top", `${Math.round(top)}px`);
  }

  /** @param {string} title */
  setTitle(title) {
    this.#title = title;
    this.#nameTab();
  }

  /** @param {string} count How many conversations are unread, "" for none. */
  setUnread(count) {
    this.#unread = count;
    this.#nameTab();
  }

  #nameTab() {
    if (this.isPage) document.title = this.#unread ? `(${this.#unread}) ${this.#title}` : this.#title;
  }

  /**
   * Whether a key that was pressed there is meant for this chat.
   *
   * @param {EventTarget | null} target
   */
  takesKeysOf(target) {
    if (!(target instanceof Element)) return this.isPage;
    if (this.#element.contains(target)) return true;
    return this.isPage && !target.closest("streaming-chat, dialog, input, textarea, select");
  }
}
