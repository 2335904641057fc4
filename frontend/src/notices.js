/** What stands above the composer for a while: an error with what can be done about it, a deletion that can be undone. */

import { Refusal } from "./api.js";

// The server undoes a deletion for so long.
const UNDO_SECONDS = 60;

export class Notices {
  constructor({ at, words, signal, left }) {
    Object.assign(this, { at, words, left });
    at.dismiss.addEventListener("click", () => this.#answer(() => {}), { signal });
    at.retry.addEventListener("click", () => this.#answer(this.again), { signal });
    at.undoButton.addEventListener("click", () => this.#undone(), { signal });
  }

  /** Show an error, null for none. again: what its button repeats. */
  fail(error, again = null) {
    this.again = again;
    this.at.errorText.textContent = error ? this.text(error) : "";
    this.at.login.hidden = error?.code !== "not_signed_in";
    this.at.retry.hidden = !again;
    this.at.error.hidden = !error;
    this.#hold(error?.retryAfter);
  }

  /** Return what to say of an error. */
  text(error) {
    return error instanceof Refusal ? error.message : this.words.say("offline");
  }

  /** Offer for a minute to take a deletion back. undo(): does. */
  deleted(undo) {
    this.undo = undo;
    this.at.undo.hidden = false;
    this.at.undoButton.focus();
    clearTimeout(this.undoing);
    this.undoing = setTimeout(() => this.forget(), UNDO_SECONDS * 1000);
  }

  /** A deletion stays. */
  forget() {
    clearTimeout(this.undoing);
    if (this.at.undo.contains(document.activeElement)) this.left();
    this.at.undo.hidden = true;
  }

  close() {
    clearTimeout(this.undoing);
    clearTimeout(this.holding);
  }

  #undone() {
    this.forget();
    this.undo();
  }

  #answer(act) {
    this.fail(null);
    this.left();
    act();
  }

  /** Keep the button from being pressed before the server wants to be asked again. */
  #hold(seconds) {
    clearTimeout(this.holding);
    this.at.retry.disabled = Boolean(seconds);
    if (seconds) this.holding = setTimeout(() => (this.at.retry.disabled = false), seconds * 1000);
  }
}
