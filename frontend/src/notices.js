/** What stands above the composer for a while: an error and what can be done about it, or a deletion that can be undone. */

import { ApiError, NetworkError } from "./api.js";

/**
 * @import { Translations } from "./translations.js"
 * @import { ChatParts } from "./types"
 */

// As long as the server can restore a conversation.
const UNDO_SECONDS = 60;

export class Notices {
  #parts;
  #translations;
  #isVisitor;
  #moveFocus;
  /** @type {(() => void) | null} */
  #retry = null;
  /** @type {() => void} */
  #undo = () => {};
  /** @type {number | undefined} */
  #undoTimer;
  /** @type {number | undefined} */
  #retryTimer;

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {Translations} options.translations
   * @param {boolean} options.isVisitor Whether the user has not signed in.
   * @param {() => void} options.moveFocus Called when a notice that has the focus goes away.
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, translations, isVisitor, moveFocus, signal }) {
    this.#parts = parts;
    this.#translations = translations;
    this.#isVisitor = isVisitor;
    this.#moveFocus = moveFocus;
    parts.dismiss.addEventListener("click", () => this.#answerError(() => {}), { signal });
    parts.retry.addEventListener("click", () => this.#answerError(this.#retry), { signal });
    parts.undoButton.addEventListener("click", () => this.#undoPressed(), { signal });
  }

  /**
   * @param {any} error
   * @param {(() => void) | null} retry What "Try again" does, null for no such button.
   */
  showError(error, retry = null) {
    this.#retry = retry;
    this.#parts.errorText.textContent = this.errorText(error);
    this.#parts.login.hidden = error.code !== "not_signed_in" && !(this.#isVisitor && error.code === "quota_exceeded");
    this.#parts.retry.hidden = !retry;
    this.#parts.error.hidden = false;
    this.#disableRetry(error.retryAfter);
  }

  hideError() {
    this.#retry = null;
    this.#parts.errorText.textContent = "";
    this.#parts.login.hidden = true;
    this.#parts.retry.hidden = true;
    this.#parts.error.hidden = true;
    this.#disableRetry(null);
  }

  /**
   * Say something that is not an error.
   *
   * @param {string} text
   */
  showInfo(text) {
    this.hideError();
    this.#parts.errorText.textContent = text;
    this.#parts.error.hidden = false;
  }

  /**
   * Return the text of an error for the user.
   *
   * @param {unknown} error
   */
  errorText(error) {
    if (error instanceof ApiError) return error.message;
    return this.#translations.say(error instanceof NetworkError ? "offline" : "unexpected");
  }

  /**
   * Offer for a minute to undo a deletion.
   *
   * @param {() => void} undo
   */
  offerUndo(undo) {
    this.#undo = undo;
    this.#parts.undo.hidden = false;
    this.#parts.undoButton.focus();
    clearTimeout(this.#undoTimer);
    this.#undoTimer = setTimeout(() => this.hideUndo(), UNDO_SECONDS * 1000);
  }

  hideUndo() {
    clearTimeout(this.#undoTimer);
    if (this.#parts.undo.contains(document.activeElement)) this.#moveFocus();
    this.#parts.undo.hidden = true;
  }

  close() {
    clearTimeout(this.#undoTimer);
    clearTimeout(this.#retryTimer);
  }

  #undoPressed() {
    this.hideUndo();
    this.#undo();
  }

  /** @param {(() => void) | null} act */
  #answerError(act) {
    this.hideError();
    this.#moveFocus();
    act?.();
  }

  /** @param {number | null | undefined} seconds For which the server does not want another request. */
  #disableRetry(seconds) {
    clearTimeout(this.#retryTimer);
    this.#parts.retry.disabled = Boolean(seconds);
    if (seconds) this.#retryTimer = setTimeout(() => (this.#parts.retry.disabled = false), seconds * 1000);
  }
}
