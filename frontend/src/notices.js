/** What stands above the composer for a while: an error with what can be done about it, a deletion that can be undone. */

import { Refusal, Unreachable } from "./api.js";

// The server undoes a deletion for so long.
const UNDO_SECONDS = 60;

export class Notices {
  /** isVisitor: whether who reads has no account. left(): takes the keyboard. */
  constructor({ at, words, isVisitor, signal, left }) {
    Object.assign(this, { at, words, isVisitor, left });
    at.dismiss.addEventListener("click", () => this.#answer(() => {}), { signal });
    at.retry.addEventListener("click", () => this.#answer(this.again), { signal });
    at.undoButton.addEventListener("click", () => this.#undone(), { signal });
  }

  /** Show an error, null for none. again: what its button repeats. */
  fail(error, again = null) {
    this.again = again;
    this.at.errorText.textContent = error ? this.text(error) : "";
    this.at.login.hidden = error?.code !== "not_signed_in" && !(this.isVisitor && error?.code === "quota_exceeded");
    this.at.retry.hidden = !again;
    this.at.error.hidden = !error;
    this.#hold(error?.retryAfter);
  }

  /** Say something that is no error of the reader's. */
  say(text) {
    this.fail(null);
    this.at.errorText.textContent = text;
    this.at.error.hidden = false;
  }

  /** Return what to say of an error. */
  text(error) {
    if (error instanceof Refusal) return error.message;
    return this.words.say(error instanceof Unreachable ? "offline" : "unexpected");
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
