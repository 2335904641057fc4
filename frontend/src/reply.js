/** One reply, live or ended, as the page shows it. What a model writes goes through the Markdown module only. */

import { isWaiting, shownCalls } from "./call-states.js";
import { makeCopyButton } from "./copy-button.js";
import { Feedback } from "./feedback.js";
import { LazyMarkdown } from "./lazy-markdown.js";
import { isLive } from "./live-state.js";
import { Pager } from "./pager.js";
import { findParts } from "./parts.js";
import { ReplyContent } from "./reply-content.js";
import { ReplyDetails } from "./reply-details.js";
import { ReplyEnding } from "./reply-ending.js";
import { ReplyReasoning } from "./reply-reasoning.js";
import { showSources } from "./sources.js";
import { ToolCalls } from "./tool-calls.js";

/**
 * @import { GivenAnswer } from "./call-answer.js"
 * @import { Thumb } from "./feedback.js"
 * @import { Direction } from "./pager.js"
 * @import { Translations } from "./translations.js"
 * @import { ElementFactories, Ending, Message, ModuleAddresses, ReplyParts, Siblings, StreamEvent } from "./types"
 */

/**
 * @typedef {object} ReplyHandlers
 * @property {(reply: Reply) => void} regenerate
 * @property {(reply: Reply, opener: HTMLElement) => void} chooseModel
 * @property {(reply: Reply) => void} goOn
 * @property {(reply: Reply, direction: Direction) => void} step
 * @property {(reply: Reply, value: Thumb, comment: string) => Promise<boolean>} saveFeedback
 * @property {(reply: Reply, given: GivenAnswer) => Promise<boolean>} answer Returns whether the answer to a tool call was taken.
 * @property {(reply: Reply) => Promise<Message | undefined>} fetch
 * @property {(model: string) => string} labelOf Returns the name of a model.
 */

export class Reply {
  /** @type {ReplyParts} */
  #parts;
  #text;
  #reasoning;
  #calls;
  #feedback;
  #details;
  #ending;
  /** @type {ReplyContent | null} What polling found, or what a continuation begins with, until the stream has brought more. */
  #preview = null;
  #shown = new ReplyContent();
  /** @type {Siblings | null} */
  #siblings = null;
  /** @type {string | null} The message's id, null until the server has named it. */
  id = null;
  /** The id of the model that writes it, "" until the server has named it. */
  model = "";
  /** What the stream has brought; it may be more than is shown. */
  received = new ReplyContent();

  /**
   * @param {object} options
   * @param {ElementFactories} options.templates
   * @param {Translations} options.translations
   * @param {ModuleAddresses} options.modules
   * @param {ReplyHandlers} options.on
   */
  constructor({ templates, translations, modules, on }) {
    this.element = templates.reply();
    this.#parts = findParts(this.element);
    const parts = this.#parts;
    this.#text = new LazyMarkdown(parts.text, { translations, modules });
    this.#reasoning = new ReplyReasoning(parts, { translations, modules });
    this.#calls = new ToolCalls(parts.tools, { templates, translations, answer: (given) => on.answer(this, given) });
    this.pager = new Pager(this.element, translations, (direction) => on.step(this, direction));
    this.#feedback = new Feedback(parts, (value, comment) => on.saveFeedback(this, value, comment));
    this.#details = new ReplyDetails(parts, translations, { fetch: () => on.fetch(this), labelOf: on.labelOf });
    this.#ending = new ReplyEnding(parts, translations, {
      regenerate: () => on.regenerate(this),
      chooseModel: () => on.chooseModel(this, parts.againMenu),
      goOn: () => on.goOn(this),
    });
    makeCopyButton(parts.copy, translations, () => this.#shown.text, () => this.#text.html);
    this.#begin(null);
  }

  // A live reply

  /**
   * Start over: another reply to the same message is written in its place.
   *
   * @param {object} options
   * @param {boolean} [options.keepsText] It begins with the text of this one, which stays until the stream has brought it.
   */
  restart({ keepsText = false } = {}) {
    const { received } = this;
    this.#begin({ index: this.pager.count + 1, count: this.pager.count + 1 }, keepsText ? received.textOnly() : null);
    this.id = null;
    this.#feedback.show(null);
    this.#details.clear();
  }

  /**
   * Show a live reply as the API has it; its stream continues after `lastId`.
   *
   * @param {Message} message
   */
  resume(message) {
    this.id = message.id;
    this.model = message.model;
    this.#siblings = message.siblings;
    this.received = ReplyContent.of(message);
    this.draw();
  }

  /** The id of the last event that was received, "" for none. */
  get lastId() {
    return this.received.position ? `${this.id}/${this.received.position}` : "";
  }

  /** The id of the last event that is on the page. */
  get shownId() {
    return `${this.id}/${Math.max(this.#shown.position, 1)}`;
  }

  /**
   * Take an event of the stream; `draw` shows it.
   *
   * @param {StreamEvent} event
   */
  receive(event) {
    this.received.add(event);
    this.#reasoning.receive(event);
  }

  /**
   * Show what polling found, as long as the stream has brought less.
   *
   * @param {Message} message
   */
  preview(message) {
    this.#preview = ReplyContent.of(message);
    this.draw();
  }

  /** @type {ReplyContent["noteAnswers"]} Show which calls were answered, and whether the user may answer others. */
  noteAnswers(answers, mayAnswer) {
    for (const content of [this.received, this.#preview]) content?.noteAnswers(answers, mayAnswer);
    if (this.isLive) this.draw();
  }

  /** Show everything that was received. */
  draw() {
    const { received } = this;
    const preview = this.#preview;
    this.#shown = (preview && preview.position > received.position ? preview : received).copy();
    this.#render(false);
  }

  /** Show everything that was received, complete, including what the Markdown renderer held back. */
  drawComplete() {
    this.draw();
    this.#render(true);
  }

  // An ended reply

  /** @param {Ending} ending */
  end(ending) {
    this.#preview = null;
    this.#reasoning.time.stop();
    this.#shown = this.received.copy();
    this.#setStatus(ending.status);
    this.#render(true);
    this.#ending.show(ending);
    this.#showActions();
  }

  /**
   * Show an ended message as the API has it.
   *
   * @param {Message} message
   */
  show(message) {
    this.id = message.id;
    this.model = message.model;
    this.#siblings = message.siblings;
    this.received = ReplyContent.of(message);
    if (message.reasoning_ms) this.#reasoning.time.milliseconds = message.reasoning_ms;
    this.#feedback.show(message.feedback);
    this.#details.show(message);
    this.end(message);
  }

  /**
   * @param {Siblings | null} siblings
   * @param {ReplyContent | null} preview
   */
  #begin(siblings, preview = null) {
    this.received = new ReplyContent();
    this.#preview = preview;
    this.#siblings = siblings;
    this.#reasoning.restart();
    this.#setStatus("streaming");
    this.#ending.hide();
    this.#parts.actions.hidden = true;
    this.#feedback.close();
    this.draw();
  }

  get isLive() {
    return isLive(this.element.dataset.status);
  }

  /** Whether it waits for an answer, of the user's or of staff. */
  get isWaiting() {
    return this.element.dataset.status === "waiting";
  }

  get mayAnswer() {
    return this.#shown.mayAnswer;
  }

  /** @param {string} status */
  #setStatus(status) {
    if (this.element.dataset.status === status) return;
    this.element.dataset.status = status;
    // Screen readers may pass over what is busy, and so over a question.
    if (status === "streaming") this.element.setAttribute("aria-busy", "true");
    else this.element.removeAttribute("aria-busy");
  }

  /** @param {boolean} isComplete */
  #render(isComplete) {
    const { text, reasoning, isAfterTool, sources } = this.#shown;
    const parts = this.#parts;
    this.#text.draw(text, { isComplete });
    this.#reasoning.draw(reasoning, { isComplete: isComplete || Boolean(text), isNow: this.isLive && !text });
    const calls = shownCalls(this.#shown, this.isLive);
    if (this.isLive) this.#setStatus(isWaiting(calls) ? "waiting" : "streaming");
    this.#calls.show(calls, this.mayAnswer);
    showSources(parts, sources);
    parts.waiting.hidden = !this.isLive || this.isWaiting || (Boolean(text) && !isAfterTool);
  }

  #showActions() {
    const parts = this.#parts;
    parts.actions.hidden = false;
    parts.copy.hidden = this.#shown.isBlank;
    parts.good.hidden = parts.bad.hidden = this.#shown.isEmpty;
    this.pager.show(this.#siblings ?? { index: 1, count: 1 });
  }
}
