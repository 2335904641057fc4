/** "2 of 3": which of the messages after one parent is in view, and the way to the others. */

import { parts } from "./parts.js";

export class Pager {
  /** step(direction): called with -1 or 1. */
  constructor(element, words, step) {
    this.words = words;
    this.at = parts(element);
    this.at.previous.addEventListener("click", () => step(-1));
    this.at.next.addEventListener("click", () => step(1));
  }

  /** siblings: {index, count} as the API has it, index from 1. */
  show({ index, count }) {
    this.count = count;
    this.at.pager.hidden = count < 2;
    this.at.place.textContent = this.words.say("place", { index: this.words.number(index), count: this.words.number(count) });
    this.at.previous.disabled = index <= 1;
    this.at.next.disabled = index >= count;
  }

  /** Put the keyboard on the button of this direction, on the other where that one leads nowhere. */
  focus(direction) {
    const [wanted, other] = direction < 0 ? [this.at.previous, this.at.next] : [this.at.next, this.at.previous];
    (wanted.disabled ? other : wanted).focus();
  }
}
