/** Thumbs up or down for a reply, with a comment. */

import { onEscape } from "./keys.js";

/** @import { FeedbackData, ReplyParts } from "./types" */

/** @typedef {1 | -1 | null} Thumb */

export class Feedback {
  #parts;
  #save;
  /** @type {Thumb} */
  #value = null;
  // As it is saved.
  #comment = "";
  // One change is saved after the other: the server may take two requests in another order.
  #saving = Promise.resolve(true);

  /**
   * @param {ReplyParts} parts
   * @param {(value: Thumb, comment: string) => Promise<boolean>} save Null removes the feedback; returns whether it was saved.
   */
  constructor(parts, save) {
    this.#parts = parts;
    this.#save = save;
    parts.good.addEventListener("click", () => this.#pressed(1));
    parts.bad.addEventListener("click", () => this.#pressed(-1));
    parts.commentLabel.htmlFor = parts.commentText.id = `sc-comment-${nextNumber()}`;
    parts.comment.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#change(this.#value, parts.commentText.value).then((isSaved) => isSaved && this.#closeAndFocus());
    });
    parts.commentEdit.addEventListener("click", () => this.#openForm());
    parts.commentCancel.addEventListener("click", () => this.#closeAndFocus());
    onEscape(parts.comment, () => this.#closeAndFocus());
    this.show(null);
  }

  /** @param {{value: Thumb, comment: string} | null} feedback Null for none. */
  show(feedback) {
    this.#value = feedback?.value ?? null;
    this.#comment = feedback?.comment ?? "";
    this.#parts.commentText.value = this.#comment;
    this.#showComment();
    this.#parts.good.setAttribute("aria-pressed", String(this.#value === 1));
    this.#parts.bad.setAttribute("aria-pressed", String(this.#value === -1));
  }

  /** Hide the form for the comment. */
  close() {
    this.#parts.comment.hidden = true;
    this.#parts.commentText.value = this.#comment;
    this.#showComment();
  }

  /** Show the comment that is saved, with a button that opens the form again. */
  #showComment() {
    this.#parts.commentSaved.hidden = !this.#comment || !this.#parts.comment.hidden;
    this.#parts.commentShown.textContent = this.#comment;
  }

  #openForm() {
    this.#parts.comment.hidden = false;
    this.#showComment();
    this.#parts.commentText.focus();
  }

  /** @param {1 | -1} value */
  #pressed(value) {
    if (this.#value === value) {
      this.#change(null, "");
      return this.close();
    }
    this.#change(value, this.#comment);
    this.#openForm();
  }

  /**
   * Show a change at once, and take it back if it could not be saved. Returns whether it was saved.
   *
   * @param {Thumb} value
   * @param {string} comment
   */
  async #change(value, comment) {
    const before = this.#value && { value: this.#value, comment: this.#comment };
    this.show(value && { value, comment });
    this.#saving = this.#saving.then(() => this.#save(value, comment));
    const isSaved = await this.#saving;
    if (!isSaved) this.show(before);
    return isSaved;
  }

  #closeAndFocus() {
    this.close();
    (this.#value === -1 ? this.#parts.bad : this.#parts.good).focus();
  }
}

let number = 0;

function nextNumber() {
  number += 1;
  return number;
}
