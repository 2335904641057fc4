/** The chat in its page: in the layout "page" it fills the window, names the tab and takes keys that are pressed anywhere. */

export class PageLayout {
  #element;

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
  }

  /** Fill the window below what the site has above the chat. */
  fit() {
    if (!this.isPage) return;
    const top = this.#element.getBoundingClientRect().top + scrollY;
    this.#element.style.setProperty("--sc-top", `${Math.round(top)}px`);
  }

  /** @param {string} title */
  setTitle(title) {
    if (this.isPage) document.title = title;
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
