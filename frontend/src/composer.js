/** Where a message is written: the text, its draft, the model, and the button that sends or stops. */

import { Drafts, takeOver } from "./drafts.js";
import { isSending } from "./user-message.js";

/** at: the element's parts. on: {sent(), stopped(), up()}: what its keys and buttons do. root, scope: whose drafts these are. */
export class Composer {
  constructor({ at, on, root, scope, signal }) {
    Object.assign(this, { at, on, root, scope });
    this.wanted = "";
    at.composer.addEventListener("submit", (event) => {
      event.preventDefault();
      on.sent();
    }, { signal });
    at.text.addEventListener("input", () => this.#typed(), { signal });
    at.text.addEventListener("keydown", (event) => this.#key(event), { signal });
    at.model.addEventListener("change", () => this.#typed(), { signal });
    at.stop.addEventListener("click", () => on.stopped(), { signal });
  }

  /** Write in this conversation, "" for a new one. What was typed there before is there again. */
  open(conversation) {
    const typed = this.drafts ? "" : this.text;
    this.drafts = new Drafts(`${this.scope}:${conversation || "new"}`);
    this.taken = null;
    const draft = this.drafts.load();
    this.write(typed || draft?.text || takeOver(this.root));
    this.choose(draft?.model);
  }

  /** The new chat has become a conversation: what is typed since belongs there. */
  adopt(conversation) {
    this.drafts.forget();
    this.drafts = new Drafts(`${this.scope}:${conversation}`);
    this.#save();
  }

  get text() {
    return this.at.text.value;
  }

  /** The model that is chosen, "" where there is no choice. */
  get model() {
    return this.at.model.options.length > 1 ? this.at.model.value : "";
  }

  write(text) {
    this.at.text.value = text;
    this.#grow();
  }

  /** Take the text out to be sent after a reply, null for none; returns its draft, which is kept until the reply begins. */
  take(parent) {
    const draft = this.drafts.save(this.text, this.model, parent);
    this.taken = draft;
    this.write("");
    return draft;
  }

  /** What was taken has reached the server; what is typed since is a draft of its own. */
  answered() {
    this.taken = null;
    this.drafts.forget();
    this.#save();
  }

  /** A message was refused: nothing is lost, its text is here again. isNew: no server has it, also not under its client_id. */
  giveBack(text, { isNew }) {
    this.taken = null;
    if (isNew) this.drafts.forget();
    this.write([text, this.text].filter(Boolean).join("\n\n"));
    this.#save();
    this.focus();
  }

  /** models: as GET api/models has them; wildcards name none. */
  offer(models) {
    const options = models.filter(({ id }) => !id.endsWith(":*")).map(({ id }) => new Option(id, id));
    this.at.model.replaceChildren(...options);
    this.at.model.disabled = this.at.modelField.hidden = options.length < 2;
    this.choose(this.wanted);
  }

  /** Choose the conversation's model, unless what is typed is meant for another: with that it may have been sent already. */
  suggest(model) {
    this.choose(this.drafts.load()?.model || model);
  }

  /** Choose a model, now or when it is offered. */
  choose(model) {
    this.wanted = model || this.wanted;
    const ids = [...this.at.model.options].map((option) => option.value);
    if (ids.includes(this.wanted)) this.at.model.value = this.wanted;
  }

  /** Show the button that makes sense now. */
  settle({ writing, stopping }) {
    this.at.send.hidden = writing;
    this.at.stop.hidden = !writing;
    this.at.stop.disabled = stopping;
  }

  say(text) {
    if (this.at.status.textContent !== text) this.at.status.textContent = text;
  }

  focus() {
    this.at.text.focus();
  }

  #typed() {
    this.#save();
    this.#grow();
  }

  /** Keep what is typed; what was taken and is not answered yet stays as it was sent. */
  #save() {
    if (!this.taken) this.drafts.save(this.text, this.model);
  }

  #key(event) {
    if (isSending(event)) {
      event.preventDefault();
      this.on.sent();
    } else if (event.key === "ArrowUp" && !this.text && !event.isComposing) {
      event.preventDefault();
      this.on.up();
    }
  }

  /** Make room for what is typed, in browsers that do not by `field-sizing`. */
  #grow() {
    this.at.text.rows = Math.min(8, this.text.split("\n").length);
  }
}
