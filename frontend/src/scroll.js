/** Following the end of a text that grows, until the reader scrolls up. */

// Within so many pixels of the end, whoever scrolls down has arrived.
const NEAR = 24;
const UPWARDS = new Set(["ArrowUp", "PageUp", "Home"]);

export class Scroll {
  #top = 0;
  #height = 0;

  constructor(area, button, signal) {
    this.area = area;
    this.button = button;
    this.following = true;
    area.addEventListener("scroll", () => this.#look(), { passive: true, signal });
    // Before the first scroll event of its own, so that the next word cannot pull the reader down again.
    const leave = () => this.#canScroll() && this.leave();
    area.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && leave(), { passive: true, signal });
    area.addEventListener("keydown", (event) => this.#isUpwards(event) && leave(), { signal });
    let touched = 0;
    area.addEventListener("touchstart", ({ touches }) => (touched = touches[0].clientY), { passive: true, signal });
    area.addEventListener("touchmove", ({ touches }) => touches[0].clientY > touched && leave(), { passive: true, signal });
    button.addEventListener("click", () => this.#jumpByButton(), { signal });
    // Whatever changes the height, pictures of code and late fonts too.
    this.observer = new ResizeObserver(() => this.grown());
    this.observer.observe(area);
    for (const child of area.children) this.observer.observe(child);
  }

  close() {
    this.observer.disconnect();
  }

  /** Call after the text has grown. */
  grown() {
    if (this.following) this.#down();
    this.#show();
  }

  /** Go to the end, and follow it. */
  jump() {
    this.following = true;
    this.#down();
    this.#show();
  }

  /** Stay where the reader is. */
  leave() {
    this.following = false;
    this.#show();
  }

  #jumpByButton() {
    this.jump();
    // The button is gone now; the keyboard goes on in what it led to.
    this.area.focus({ preventScroll: true });
  }

  #down() {
    this.area.scrollTop = this.area.scrollHeight;
    this.#note();
  }

  #look() {
    const { scrollTop, scrollHeight } = this.area;
    // A text that became shorter moves the reader up without having been scrolled.
    if (scrollTop < this.#top - 1 && scrollHeight >= this.#height) this.following = false;
    else if (scrollTop > this.#top && this.#distance() < NEAR) this.following = true;
    this.#note();
    this.#show();
  }

  #note() {
    this.#top = this.area.scrollTop;
    this.#height = this.area.scrollHeight;
  }

  #show() {
    this.button.hidden = this.following || this.#distance() < NEAR;
  }

  #distance() {
    return this.area.scrollHeight - this.area.scrollTop - this.area.clientHeight;
  }

  /** Whether a key scrolls this area up; in a field it moves the caret. */
  #isUpwards({ key, shiftKey, target }) {
    if (target.closest("input, textarea, select")) return false;
    return UPWARDS.has(key) || (key === " " && shiftKey && target === this.area);
  }

  #canScroll() {
    return this.area.scrollTop > 0;
  }
}
