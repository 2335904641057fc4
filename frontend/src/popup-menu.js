/** A menu in a popover, at the button that opens it: arrow keys, Home and End move in it, Escape and Tab close it. */

const GAP_PIXELS = 4;

export class PopupMenu {
  #menu;
  #findOpener;
  #isAtStart;
  // Whether a press on the opener has just closed it, so that the click is not to open it again.
  #isPressedShut = false;

  /**
   * @param {object} options
   * @param {HTMLElement} options.menu Its buttons are the items.
   * @param {() => HTMLElement | null | undefined} options.findOpener Returns the button of the open menu, which may have been replaced.
   * @param {(item: HTMLButtonElement) => void} options.chosen
   * @param {boolean} [options.isAtStart] Whether it begins where the button does, instead of ending where that does.
   * @param {AbortSignal} options.signal
   */
  constructor({ menu, findOpener, chosen, isAtStart = false, signal }) {
    this.#menu = menu;
    this.#isAtStart = isAtStart;
    this.#findOpener = findOpener;
    menu.addEventListener("click", ({ target }) => {
      const item = /** @type {HTMLElement} */ (target).closest("button");
      if (!item) return;
      this.close();
      chosen(item);
    }, { signal });
    menu.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    menu.addEventListener("toggle", (event) => this.#toggled(/** @type {ToggleEvent} */ (event)), { signal });
    // Before the browser closes it because of the press.
    addEventListener("pointerdown", ({ target }) => this.#watchPress(target), { signal, capture: true });
  }

  /** @param {EventTarget | null} target */
  #watchPress(target) {
    const opener = this.isOpen && this.#findOpener();
    this.#isPressedShut = Boolean(opener && target instanceof Node && opener.contains(target));
  }

  /**
   * Open it at its button, or close it if it is open there.
   *
   * @param {HTMLElement} opener
   */
  open(opener) {
    const isShut = this.#isPressedShut;
    this.#isPressedShut = false;
    if (isShut) return this.close();
    this.#menu.showPopover();
    this.#place(opener.getBoundingClientRect());
    const items = this.#items;
    (items.find(({ ariaChecked }) => ariaChecked === "true") ?? items[0])?.focus();
  }

  close() {
    if (this.isOpen) this.#menu.hidePopover();
  }

  get isOpen() {
    return this.#menu.matches(":popover-open");
  }

  get #items() {
    return [...this.#menu.querySelectorAll("button")];
  }

  /**
   * Put it below the button, or above it if there is no room.
   *
   * @param {DOMRect} button
   */
  #place(button) {
    const { width, height } = this.#menu.getBoundingClientRect();
    const isRightToLeft = this.#menu.matches(":dir(rtl)");
    const left = isRightToLeft === this.#isAtStart ? button.right - width : button.left;
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
    const opener = this.#findOpener();
    opener?.setAttribute("aria-expanded", String(newState === "open"));
    if (newState === "closed" && document.activeElement === document.body) opener?.focus();
  }
}
