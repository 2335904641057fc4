/** Following the end of a text that grows, until the reader scrolls away from it. */

const NEAR = 48;

export class Follower {
  constructor(area, button) {
    this.area = area;
    this.button = button;
    this.following = true;
    area.addEventListener("scroll", () => this.#look(), { passive: true });
    button.addEventListener("click", () => this.jump());
  }

  /** Call after the text has grown. */
  grown() {
    if (this.following) this.#down();
    this.#look();
  }

  /** Go to the end, and follow it again. */
  jump() {
    this.#down();
    this.#look();
  }

  #down() {
    this.area.scrollTop = this.area.scrollHeight;
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.area;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.button.hidden = this.following;
  }
}
