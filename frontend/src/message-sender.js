/** Sends what makes a reply: a new message, an edited one, or a request for another reply. */

import { ApiError } from "./api.js";
import { newClientId } from "./client-id.js";
import { newDraft } from "./drafts.js";
import { preloadRenderer } from "./lazy-markdown.js";
import { fieldsOf } from "./model-picker.js";
import { Reply } from "./reply.js";
import { UserMessage } from "./user-message.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Draft } from "./drafts.js"
 * @import { ReplyIds, ReplyRequest, Siblings } from "./types"
 */

/**
 * Where a message goes. last: the message after which the page shows it, parent: the one after which the server adds it.
 *
 * @typedef {{last: string | null, parent: string | null, siblings: Siblings}} Position
 */

/**
 * Takes a refused message off the page and keeps its text. isNew: the server certainly has no message with its client_id. Returns
 * what "Try again" does, or null.
 *
 * @typedef {(message: UserMessage, isNew: boolean) => (() => void) | null} TakeBack
 */

export class MessageSender {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /** Send what the composer holds; while a reply is being written, put it into the queue. */
  async send() {
    const { autoScroll, composer, follower, view } = this.#chat;
    if (!composer.text.trim()) return;
    if (follower.isFollowing) return this.#enqueue();
    if (view.isLoading) return view.sendOnceLoaded();
    const draft = composer.take(this.#lastReply);
    composer.focus();
    autoScroll.jump();
    await this.#sendDraft(draft);
  }

  /**
   * Send a text that the user has chosen; what is being written stays.
   *
   * @param {string} text
   */
  async sendText(text) {
    const { autoScroll, composer, isBusy } = this.#chat;
    if (isBusy) return;
    composer.focus();
    autoScroll.jump();
    await this.#sendDraft(newDraft(text, composer.models.chosen, this.#lastReply));
  }

  /** Send the message in the queue. The user may be busy elsewhere on the page, so nothing scrolls up and the focus stays. */
  async sendQueued() {
    const { isBusy, queue } = this.#chat;
    if (isBusy || queue.isEmpty) return;
    /** @type {Promise<void> | undefined} */
    let sent;
    this.#chat.keepFocus(() => (sent = this.#sendDraft(queue.take(this.#lastReply))));
    await sent;
  }

  /** What the page tells about itself. */
  get #context() {
    const { pageContext: context } = this.#chat.config;
    return context ? { context } : {};
  }

  /**
   * Send another version of a message.
   *
   * @param {UserMessage} message
   * @param {string} text
   */
  async edit(message, text) {
    const { composer, errors, isBusy, messages } = this.#chat;
    if (isBusy) return;
    const { id, parent } = message;
    const count = message.pager.count + 1;
    this.#chat.keepFocus(() => messages.removeFrom(message));
    const body = { content: text, client_id: newClientId(), parent, ...fieldsOf(composer.models.chosen), ...this.#context };
    const takeBack = () => {
      errors.guard(this.#reopenForm(String(id), text));
      return null;
    };
    composer.focus();
    this.#chat.autoScroll.jump();
    await this.#post(body, { last: parent, parent, siblings: { index: count, count } }, takeBack);
  }

  /**
   * Ask for another reply to the same message.
   *
   * @param {Reply} reply
   * @param {string} model By this model, with which the conversation then continues; "" for the one in the composer.
   */
  async regenerate(reply, model = "") {
    const { composer } = this.#chat;
    if (model) composer.chooseModel(composer.models.choiceOf(model));
    await this.#writeAgain(reply, "regenerate", { client_id: newClientId(), ...fieldsOf(composer.models.chosen) });
  }

  /**
   * Continue a reply that was cut off, by the model that began it.
   *
   * @param {Reply} reply
   */
  async goOn(reply) {
    await this.#writeAgain(reply, "continue", { client_id: newClientId() });
  }

  /**
   * @param {Reply} reply
   * @param {"regenerate" | "continue"} how
   * @param {ReplyRequest["body"]} body
   */
  async #writeAgain(reply, how, body) {
    const { conversation, errors, follower, isBusy, messages, notices, view } = this.#chat;
    if (isBusy) return;
    const path = `api/messages/${reply.id}/${how}`;
    this.#chat.keepFocus(() => {
      const next = messages.after(reply);
      if (next) messages.removeFrom(next);
      reply.restart({ keepsText: how === "continue" });
    });
    notices.hideError();
    const refused = () => {
      errors.guard(view.reload());
      return null;
    };
    await follower.follow(reply, { path, body, conversation, accepted: () => {}, refused });
  }

  /** The id of the reply that the user sees last, null for none: the message follows it, also if another tab has moved on. */
  get #lastReply() {
    const { last } = this.#chat.messages;
    return last instanceof Reply ? last.id : null;
  }

  #enqueue() {
    const { composer, queue, translations } = this.#chat;
    queue.add(composer.text, composer.models.chosen);
    composer.clear();
    composer.focus();
    composer.setStatus(translations.say("queued"));
  }

  /** @param {Draft} draft */
  async #sendDraft(draft) {
    const { composer, messages, queue } = this.#chat;
    const { clientId, parent, text } = draft;
    const body = { content: text, client_id: clientId, ...fieldsOf(draft), ...(parent && { parent }), ...this.#context };
    /** @type {TakeBack} */
    const takeBack = (message, isNew) => {
      messages.removeFrom(message);
      composer.giveBack(draft, { isNew });
      queue.settle();
      return () => this.send();
    };
    await this.#post(body, { last: this.#lastReply, parent, siblings: { index: 1, count: 1 } }, takeBack);
  }

  /**
   * Show a message and an empty reply, send the message and follow the reply.
   *
   * @param {ReplyRequest["body"] & {content: string}} body
   * @param {Position} position
   * @param {TakeBack} takeBack
   */
  async #post(body, position, takeBack) {
    const { autoScroll, config, conversation, follower, messageFactory, messages, notices } = this.#chat;
    notices.hideError();
    notices.hideUndo();
    preloadRenderer(config.modules.markdown);
    const message = messages.add(messageFactory.userMessage(body.content));
    const reply = messages.add(messageFactory.reply());
    autoScroll.update();
    const path = conversation ? `api/conversations/${conversation}/messages` : "api/messages";
    await follower.follow(reply, {
      path,
      body,
      conversation,
      accepted: (ids) => this.#accepted(message, ids, position),
      refused: (error) => takeBack(message, isCertainlyUnsaved(error)),
    });
  }

  /**
   * @param {UserMessage} message
   * @param {ReplyIds} ids
   * @param {Position} position
   */
  #accepted(message, ids, { last, parent, siblings }) {
    const { errors, messages, queue, view } = this.#chat;
    queue.settle();
    // A message that was sent before a reload may be on the page already, or belong elsewhere.
    const isShown = ids.user_message !== null && messages.find(ids.user_message);
    message.confirmSent(ids.user_message, parent, siblings);
    if (isShown || parent !== last) errors.guard(view.reload());
  }

  /**
   * Show what a refused edit has taken off the page, and its form with the text.
   *
   * @param {string} id
   * @param {string} text
   */
  async #reopenForm(id, text) {
    const { composer, messages, view } = this.#chat;
    await view.reload();
    const message = messages.find(id);
    if (message instanceof UserMessage) message.openForm(text);
    else composer.insert(text);
  }
}

/**
 * Whether the server has certainly saved nothing of a request.
 *
 * @param {unknown} error
 */
function isCertainlyUnsaved(error) {
  return error instanceof ApiError && error.code !== "unexpected" && error.status < 500;
}
