/** Thumbs for a reply, with a comment. */

/** at: the reply's parts. judged(value, comment): saves 1 or -1, or null to take it back; a promise. */
export class Judgement {
  constructor(at, judged) {
    this.at = at;
    this.judged = judged;
    at.good.addEventListener("click", () => this.#press(1));
    at.bad.addEventListener("click", () => this.#press(-1));
    at.commentLabel.htmlFor = at.commentText.id = `sc-comment-${nextNumber()}`;
    at.comment.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save(this.value, at.commentText.value).then((saved) => saved && this.#leave());
    });
    at.commentCancel.addEventListener("click", () => this.#leave());
    at.comment.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      event.stopPropagation();
      this.#leave();
    });
    this.show(null);
  }

  /** feedback: {value, comment} as the API has it, null for none. */
  show(feedback) {
    this.value = feedback?.value ?? null;
    this.at.commentText.value = feedback?.comment ?? "";
    this.at.good.setAttribute("aria-pressed", String(this.value === 1));
    this.at.bad.setAttribute("aria-pressed", String(this.value === -1));
  }

  /** Ask for no comment any more. */
  close() {
    this.at.comment.hidden = true;
  }

  #press(value) {
    if (this.value === value) {
      this.#save(null, "");
      return this.close();
    }
    this.#save(value, this.at.commentText.value);
    this.at.comment.hidden = false;
    this.at.commentText.focus();
  }

  /** Show it at once; where it could not be saved, what was. Returns whether it was. */
  async #save(value, comment) {
    const before = this.value && { value: this.value, comment: this.at.commentText.value };
    this.show(value && { value, comment });
    const saved = await this.judged(value, comment);
    if (!saved) this.show(before);
    return saved;
  }

  #leave() {
    this.close();
    (this.value === -1 ? this.at.bad : this.at.good).focus();
  }
}

let number = 0;

function nextNumber() {
  number += 1;
  return number;
}
