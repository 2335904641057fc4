/** What a model reasons, folded above its reply, and for how long. */

import { LazyMarkdown } from "./lazy-markdown.js";
import { Stopwatch } from "./stopwatch.js";

/**
 * @import { Translations } from "./translations.js"
 * @import { ModuleAddresses, ReplyParts, StreamEvent } from "./types"
 */

export class ReplyReasoning {
  #parts;
  #translations;
  #markdown;
  /** How long it took. */
  time = new Stopwatch();

  /**
   * @param {ReplyParts} parts
   * @param {{translations: Translations, modules: ModuleAddresses}} options
   */
  constructor(parts, { translations, modules }) {
    this.#parts = parts;
    this.#translations = translations;
    this.#markdown = new LazyMarkdown(parts.reasoningText, { translations, modules });
  }

  /** Another reply begins. */
  restart() {
    this.time = new Stopwatch();
  }

  /** @param {StreamEvent} event */
  receive({ data }) {
    if (data.reasoning) this.time.start();
    else if (data.text || data.tool_call || data.source) this.time.stop();
  }

  /**
   * @param {string} text
   * @param {{isComplete: boolean, isNow: boolean}} options isNow: the model has not begun to answer.
   */
  draw(text, { isComplete, isNow }) {
    this.#markdown.draw(text, { isComplete });
    this.#parts.reasoning.hidden = !text;
    this.#parts.reasoningSummary.textContent = this.#summary(isNow);
  }

  /** @param {boolean} isNow */
  #summary(isNow) {
    const { milliseconds } = this.time;
    if (milliseconds) return this.#translations.say("reasoned", { seconds: this.#translations.seconds(milliseconds) });
    return this.#translations.say(isNow ? "reasoning_now" : "reasoning");
  }
}
