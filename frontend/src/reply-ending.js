/** How a reply ended: the sentence under it, and the buttons that continue it or ask for another one. */

/**
 * @import { Translations } from "./translations.js"
 * @import { Ending, ReplyParts } from "./types"
 */

export class ReplyEnding {
  #parts;
  #translations;

  /**
   * @param {ReplyParts} parts
   * @param {Translations} translations
   * @param {{regenerate: () => void, chooseModel: () => void, goOn: () => void}} on
   */
  constructor(parts, translations, on) {
    this.#parts = parts;
    this.#translations = translations;
    parts.again.addEventListener("click", () => on.regenerate());
    parts.againMenu.addEventListener("click", () => on.chooseModel());
    parts.continue.addEventListener("click", () => on.goOn());
  }

  /** @param {Ending} ending */
  show(ending) {
    const parts = this.#parts;
    const text = this.#translations.outcome(ending);
    parts.ending.hidden = !text;
    parts.outcome.textContent = text;
    parts.continue.hidden = !ending.can_continue;
    parts.againText.textContent = this.#translations.say(hasFailed(ending) ? "retry" : "regenerate");
  }

  hide() {
    this.#parts.ending.hidden = true;
    this.#parts.outcome.textContent = "";
  }
}

/**
 * Whether there is no answer, or not all of it, and nothing to continue.
 *
 * @param {Ending} ending
 */
function hasFailed({ status, end_reason: reason, can_continue: canContinue }) {
  return !canContinue && (status !== "completed" || reason === "content_filter");
}
