/** Where a message is written: the text field with its draft, the choice of model and effort, and the button that sends or stops. */

import { Drafts, takeKeptText } from "./drafts.js";
import { isSendKey, isTouchScreen } from "./keys.js";
import { ModelPicker } from "./model-picker.js";

/**
 * @import { Draft } from "./drafts.js"
 * @import { Translations } from "./translations.js"
 * @import { ChatParts, ModelChoice } from "./types"
 */

export class Composer {
  #parts;
  #on;
  #scope;
  #root;
  #sendLabels;
  #drafts;
  #wasOpened = false;
  // Whether a text was taken out to be sent and has not been answered: its draft stays as it was sent.
  #isAwaitingAnswer = false;

  /**
   * @param {object} options
   * @param {ChatParts} options.parts
   * @param {{send(): unknown, stop(): unknown, editLast(): void}} options.on
   * @param {string} options.root The app's address.
   * @param {string} options.scope See Drafts.
   * @param {Translations} options.translations
   * @param {AbortSignal} options.signal
   */
  constructor({ parts, on, root, scope, translations, signal }) {
    this.#parts = parts;
    this.#on = on;
    this.#root = root;
    this.#scope = scope;
    this.#sendLabels = { now: parts.send.title, later: translations.say("send_later") };
    this.#drafts = new Drafts(`${scope}:new`);
    // It describes keys that a touch screen does not have.
    if (isTouchScreen()) parts.text.removeAttribute("aria-describedby");
    this.models = new ModelPicker({ parts, translations, changed: () => this.#saveDraft(), signal });
    parts.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      on.send();
    }, { signal });
    parts.text.addEventListener("input", () => this.#typed(), { signal });
    parts.text.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    // It has faded: see composer.css.
    parts.status.addEventListener("animationend", () => this.setStatus(""), { signal });
    parts.stop.addEventListener("click", () => on.stop(), { signal });
  }

  /**
   * Write in this conversation, "" for a new one. Its draft is shown.
   *
   * @param {string} conversation
   */
  open(conversation) {
    // Typed before the script ran.
    const typed = this.#wasOpened ? "" : this.text;
    this.#wasOpened = true;
    this.#drafts = new Drafts(`${this.#scope}:${conversation || "new"}`);
    this.#isAwaitingAnswer = false;
    const draft = this.#drafts.load();
    this.write(typed || draft?.text || takeKeptText(this.#root));
    this.models.choose(draft ?? {});
  }

  /**
   * The new chat has become a conversation: what was typed since then belongs there.
   *
   * @param {string} conversation
   */
  moveDraft(conversation) {
    this.#drafts.forget();
    this.#drafts = new Drafts(`${this.#scope}:${conversation}`);
    this.#saveDraft();
  }

  get text() {
    return this.#parts.text.value;
  }

  /** @param {string} text */
  write(text) {
    this.#parts.text.value = text;
    this.#showText();
  }

  /** Remove the text, which is kept elsewhere. */
  clear() {
    this.write("");
    this.#saveDraft();
  }

  /**
   * Put a text before what is typed.
   *
   * @param {string} text
   */
  insert(text) {
    this.write([text, this.text].filter(Boolean).join("\n\n"));
    this.#saveDraft();
    this.focus();
  }

  /**
   * Take the text out to be sent after a reply, null for none. Returns its draft, which is kept until the reply begins.
   *
   * @param {string | null} parent
   */
  take(parent) {
    const draft = this.#drafts.save(this.text, this.models.chosen, parent);
    this.#isAwaitingAnswer = true;
    this.write("");
    return draft;
  }

  /** The server has the text that was taken; what was typed since then is a draft of its own. */
  confirmSent() {
    this.#isAwaitingAnswer = false;
    this.#drafts.forget();
    this.#saveDraft();
  }

  /**
   * Put back a text that was not sent, before what was typed since then.
   *
   * @param {Draft} draft
   * @param {{isNew: boolean}} options isNew: the server certainly has no message with its client_id.
   */
  giveBack(draft, { isNew }) {
    this.#isAwaitingAnswer = false;
    if (isNew) this.#drafts.forget();
    else this.#drafts.keep(draft);
    this.insert(draft.text);
  }

  /**
   * Choose the conversation's model and effort, unless the draft has its own: with those it may have been sent already.
   *
   * @param {ModelChoice} choice
   */
  suggestModel(choice) {
    const draft = this.#drafts.load();
    this.models.choose(draft?.model ? draft : choice);
  }

  /**
   * Choose a model and its effort for what is being written.
   *
   * @param {ModelChoice} choice
   */
  chooseModel(choice) {
    this.models.choose(choice);
    this.#saveDraft();
  }

  /**
   * Show the button that stops while there is a reply to stop, and when the other button sends.
   *
   * @param {{isLive: boolean, isStopping: boolean}} reply
   */
  showButtons({ isLive, isStopping }) {
    const { send, stop } = this.#parts;
    stop.hidden = !isLive;
    stop.disabled = isStopping;
    send.title = send.ariaLabel = this.#sendLabels[isLive ? "later" : "now"];
  }

  /** @param {string} text */
  setStatus(text) {
    // The same text again would be announced again by screen readers.
    if (this.#parts.status.textContent !== text) this.#parts.status.textContent = text;
  }

  focus() {
    this.#parts.text.focus();
  }

  #typed() {
    this.#saveDraft();
    this.#showText();
  }

  #saveDraft() {
    if (!this.#isAwaitingAnswer) this.#drafts.save(this.text, this.models.chosen);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (isSendKey(event)) {
      event.preventDefault();
      this.#on.send();
    } else if (event.key === "ArrowUp" && !this.text && !event.isComposing) {
      event.preventDefault();
      this.#on.editLast();
    }
  }

  #showText() {
    // Room for the text in browsers without `field-sizing`.
    this.#parts.text.rows = Math.min(8, this.text.split("\n").length);
    this.#parts.send.disabled = !this.text.trim();
  }
}
