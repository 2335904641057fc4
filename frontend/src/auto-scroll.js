/** Keeps the end of a growing text in view, until the user scrolls up. */

// Scrolling down to within so many pixels of the end counts as reaching it.
const NEAR_PIXELS = 24;
const UP_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);

export class AutoScroll {
  #area;
  #button;
  #observer;
  #top = 0;
  #height = 0;

  /**
   * @param {HTMLElement} area What scrolls.
   * @param {HTMLButtonElement} button Jumps to the end.
   * @param {AbortSignal} signal
   */
  constructor(area, button, signal) {
    this.#area = area;
    this.#button = button;
    /** Whether the end is kept in view. */
    this.isFollowing = true;
    button.addEventListener("click", () => this.#jumpByButton(), { signal });
    this.#watchUser(signal);
    // The height also changes with late fonts and coloured code.
    this.#observer = new ResizeObserver(() => this.update());
    this.#observer.observe(area);
    for (const child of area.children) this.#observer.observe(child);
  }

  close() {
    this.#observer.disconnect();
  }

  /** Call after the text has grown. */
  update() {
    if (this.isFollowing) this.#scrollDown();
    this.#showButton();
  }

  /** Go to the end, and keep it in view. */
  jump() {
    this.isFollowing = true;
    this.update();
  }

  /**
   * Show this instead of the end.
   *
   * @param {HTMLElement} element
   */
  moveTo(element) {
    this.isFollowing = false;
    element.scrollIntoView({ block: "center" });
    this.#remember();
    this.#showButton();
  }

  /**
   * Listen to what scrolls up before the scroll event comes: the text that arrives in between must not pull the user down again.
   *
   * @param {AbortSignal} signal
   */
  #watchUser(signal) {
    const area = this.#area;
    const passive = { passive: true, signal };
    area.addEventListener("scroll", () => this.#scrolled(), passive);
    area.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leaveEnd(), passive);
    area.addEventListener("keydown", (event) => this.#isUpKey(event) && this.#leaveEnd(), { signal });
    let touched = 0;
    area.addEventListener("touchstart", ({ touches }) => (touched = touches[0].clientY), passive);
    area.addEventListener("touchmove", ({ touches }) => touches[0].clientY > touched && this.#leaveEnd(), passive);
  }

  #leaveEnd() {
    if (this.#area.scrollTop <= 0) return;
    this.isFollowing = false;
    this.#showButton();
  }

  #jumpByButton() {
    this.jump();
    // The button is hidden now; the focus moves to what it led to.
    this.#area.focus({ preventScroll: true });
  }

  #scrollDown() {
    this.#area.scrollTop = this.#area.scrollHeight;
    this.#remember();
  }

  #scrolled() {
    const { scrollTop, scrollHeight } = this.#area;
    // A text that became shorter moves up without the user having scrolled.
    if (scrollTop < this.#top - 1 && scrollHeight >= this.#height) this.isFollowing = false;
    else if (scrollTop > this.#top && this.#distance() < NEAR_PIXELS) this.isFollowing = true;
    this.#remember();
    this.#showButton();
  }

  #remember() {
    this.#top = this.#area.scrollTop;
    this.#height = this.#area.scrollHeight;
  }

  #showButton() {
    this.#button.hidden = this.isFollowing || this.#distance() < NEAR_PIXELS;
  }

  #distance() {
    return this.#area.scrollHeight - this.#area.scrollTop - this.#area.clientHeight;
  }

  /**
   * Whether a key scrolls the area up; in a field it moves the caret.
   *
   * @param {KeyboardEvent} event
   */
  #isUpKey({ key, shiftKey, target }) {
    if (/** @type {Element} */ (target).closest("input, textarea, select")) return false;
    return UP_KEYS.has(key) || (key === " " && shiftKey && target === this.#area);
  }
}
