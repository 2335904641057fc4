/** The details of a reply: model, effort, tokens, times and cost. They are fetched when they are opened. */

/**
 * @import { Translations } from "./translations.js"
 * @import { Message, ReplyParts } from "./types"
 */

export class ReplyDetails {
  #parts;
  #translations;
  #on;
  /** @type {Message | null} */
  #message = null;

  /**
   * @param {ReplyParts} parts
   * @param {Translations} translations
   * @param {object} on
   * @param {() => Promise<Message | undefined>} on.fetch Returns the message as the API has it, undefined when that failed.
   * @param {(model: string) => string} on.labelOf Returns the name of a model.
   */
  constructor(parts, translations, on) {
    this.#parts = parts;
    this.#translations = translations;
    this.#on = on;
    parts.facts.addEventListener("toggle", () => this.#toggled());
    parts.facts.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** @param {Message} message */
  show(message) {
    this.#message = message;
    if (this.#parts.facts.open) this.#fill(message);
  }

  /** @param {Message} message */
  #fill(message) {
    const rows = this.#rows(message).flatMap(([name, value]) =>
      value === null ? [] : [bdiInside("dt", this.#translations.say(name)), bdiInside("dd", value)],
    );
    this.#parts.factsList.replaceChildren(...rows);
  }

  /** Forget the message: another one is being written in its place. */
  clear() {
    this.#message = null;
    this.#parts.facts.open = false;
  }

  async #toggled() {
    const { facts, factsList } = this.#parts;
    if (!facts.open) return;
    const message = this.#message ?? (await this.#on.fetch());
    if (!message) return this.clear();
    this.show(message);
    // Below the last reply the details would be out of view.
    factsList.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const { facts } = this.#parts;
    if (event.key !== "Escape" || !facts.open) return;
    event.stopPropagation();
    facts.open = false;
    facts.querySelector("summary")?.focus();
  }

  /**
   * @param {Message} message
   * @returns {[name: string, value: string | null][]}
   */
  #rows({ model, effort, usage, first_event_ms: firstEvent, duration_ms: duration, cost, created_at: created }) {
    const tokens = (/** @type {number | null | undefined} */ count) =>
      count == null ? null : this.#translations.number(count) + (usage?.estimated ? " ≈" : "");
    const time = (/** @type {number | null} */ milliseconds) => (milliseconds == null ? null : this.#translations.seconds(milliseconds));
    return [
      ["model", this.#on.labelOf(model)],
      ["effort", effort ? this.#translations.say(`effort_${effort}`) : null],
      ["time", this.#translations.dateAndTime(new Date(created))],
      ["input_tokens", tokens(usage?.input_tokens)],
      ["output_tokens", tokens(usage?.output_tokens)],
      ["reasoning_tokens", tokens(usage?.reasoning_tokens || null)],
      ["first_event", time(firstEvent)],
      ["duration", time(duration)],
      ["cost", cost],
    ];
  }
}

/**
 * Return an element with a text that has a direction of its own, but stands where the page's direction puts it.
 *
 * @param {string} tag
 * @param {string} text
 */
function bdiInside(tag, text) {
  const item = document.createElement(tag);
  item.append(Object.assign(document.createElement("bdi"), { textContent: text }));
  return item;
}
