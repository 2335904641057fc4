/** "2 of 3": which of the versions of a message is in view, with buttons that lead to the others. */

import { findParts } from "./parts.js";

/**
 * @import { Translations } from "./translations.js"
 * @import { PagerParts, Siblings } from "./types"
 */

/** @typedef {-1 | 1} Direction */

export class Pager {
  /** @type {PagerParts} */
  #parts;
  #translations;
  /** How many versions there are. */
  count = 1;

  /**
   * @param {Element} element
   * @param {Translations} translations
   * @param {(direction: Direction) => void} step
   */
  constructor(element, translations, step) {
    this.#parts = findParts(element);
    this.#translations = translations;
    this.#parts.previous.addEventListener("click", () => step(-1));
    this.#parts.next.addEventListener("click", () => step(1));
  }

  /** @param {Siblings} siblings */
  show({ index, count }) {
    const { pager, place, previous, next } = this.#parts;
    const numbers = { index: this.#translations.number(index), count: this.#translations.number(count) };
    this.count = count;
    pager.hidden = count < 2;
    place.textContent = this.#translations.say("place", numbers);
    previous.disabled = index <= 1;
    next.disabled = index >= count;
  }

  /** Where it is in the window, in pixels from the top. */
  get top() {
    return this.#parts.pager.getBoundingClientRect().top;
  }

  /**
   * Focus the button of this direction, or the other one when this is disabled.
   *
   * @param {Direction} direction
   */
  focus(direction) {
    const { previous, next } = this.#parts;
    const [wanted, other] = direction < 0 ? [previous, next] : [next, previous];
    (wanted.disabled ? other : wanted).focus({ preventScroll: true });
  }
}
