/**
 * The message that waits until the reply that is being written is finished. There is one at most: what is added becomes its next
 * paragraph. This tab's session storage keeps it over a reload.
 */

import { Drafts, newDraft } from "./drafts.js";

/**
 * @import { Draft } from "./drafts.js"
 * @import { ChatParts, ModelChoice } from "./types"
 */

export class MessageQueue {
  #parts;
  #on;
  #scope;
  #drafts;
  /** @type {Draft | null} */
  #waiting = null;
  // Whether the message was taken out to be sent and has not been answered: storage keeps it as it was sent.
  #isAwaitingAnswer = false;

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {{edit(text: string): void, send(): unknown, removed(): void}} options.on
   * @param {string} options.scope See Drafts.
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, on, scope, signal }) {
    this.#parts = parts;
    this.#on = on;
    this.#scope = scope;
    this.#drafts = this.#draftsOf("");
    parts.queueSend.addEventListener("click", () => on.send(), { signal });
    parts.queueEdit.addEventListener("click", () => this.edit(), { signal });
    parts.queueRemove.addEventListener("click", () => this.#remove(), { signal });
  }

  get isEmpty() {
    return !this.#waiting;
  }

  /**
   * Show the message that waits in this conversation, "" for a new one.
   *
   * @param {string} conversation
   */
  open(conversation) {
    this.#drafts = this.#draftsOf(conversation);
    this.#isAwaitingAnswer = false;
    this.#show(this.#drafts.load());
  }

  /**
   * The new chat has become a conversation.
   *
   * @param {string} conversation
   */
  move(conversation) {
    this.#drafts.forget();
    this.#drafts = this.#draftsOf(conversation);
    if (this.#waiting) this.#drafts.keep(this.#waiting);
  }

  /**
   * @param {string} text
   * @param {ModelChoice} choice
   */
  add(text, choice) {
    const whole = this.#waiting ? `${this.#waiting.text}\n\n${text}` : text;
    this.#show(this.#isAwaitingAnswer ? newDraft(whole, choice) : this.#drafts.save(whole, choice));
  }

  /**
   * Take the message out to be sent after a reply, null for none.
   *
   * @param {string | null} parent
   */
  take(parent) {
    const { text, ...choice } = /** @type {Draft} */ (this.#waiting);
    const draft = this.#drafts.save(text, choice, parent);
    this.#isAwaitingAnswer = true;
    this.#show(null);
    return draft;
  }

  /** The message that was taken has been answered, or is in the composer. */
  settle() {
    this.#isAwaitingAnswer = false;
    if (this.#waiting) this.#drafts.keep(this.#waiting);
    else this.#drafts.forget();
  }

  /** Let the user edit the message in the composer. */
  edit() {
    const { text } = /** @type {Draft} */ (this.#waiting);
    this.#remove();
    this.#on.edit(text);
  }

  /** @param {boolean} isLive Whether a reply is being written, after which the message is sent by itself. */
  showButton(isLive) {
    this.#parts.queueSend.hidden = isLive;
  }

  #remove() {
    this.#show(null);
    if (!this.#isAwaitingAnswer) this.#drafts.forget();
    this.#on.removed();
  }

  /** @param {Draft | null} draft */
  #show(draft) {
    this.#waiting = draft;
    this.#parts.queueText.textContent = draft?.text ?? "";
    this.#parts.queue.hidden = !draft;
  }

  /** @param {string} conversation */
  #draftsOf(conversation) {
    return new Drafts(`${this.#scope}:queue:${conversation || "new"}`);
  }
}
