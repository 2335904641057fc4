/** Follows the live reply of the conversation in view, and updates the page on the way. There is at most one. */

import { LiveReply } from "./live-reply.js";
import { State } from "./live-state.js";
import { dispatchPageEvent } from "./page-events.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Reply } from "./reply.js"
 * @import { Ending, ReplyIds, ReplyRequest } from "./types"
 */

export class ReplyFollower {
  #chat;
  /** @type {LiveReply | null} */
  #live = null;
  // Whether the last reply was followed to its end and is complete.
  #isCompleted = false;
  // As the page says it.
  #isWaiting = false;
  /** Whether the user may answer what it waits for; undefined until that is known. @type {boolean | undefined} */
  #mayAnswer = undefined;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  get isFollowing() {
    return this.#live !== null;
  }

  get isStopping() {
    return this.#live?.isStopping ?? false;
  }

  /**
   * Follow a reply to its ending.
   *
   * @param {Reply} reply
   * @param {ReplyRequest | null} request What makes it, null when it exists already.
   */
  async follow(reply, request = null) {
    const { api, config, errors, sender, translations } = this.#chat;
    const conversation = request?.conversation ?? this.#chat.conversation;
    const options = { api, reply, request, conversation, translations, silence: config.silence };
    const live = new LiveReply({ ...options, on: this.#handlers() });
    this.#live = live;
    this.#isCompleted = false;
    this.#chat.updateControls();
    this.#saySo(reply);
    try {
      await live.run();
      if (this.#live === live) await this.#finish(live);
    } finally {
      if (this.#live === live) this.#live = null;
      this.#chat.updateControls();
    }
    if (this.#isCompleted) errors.guard(sender.sendQueued());
  }

  /** Stop the reply where the user sees it end. */
  async stop() {
    const live = this.#live;
    if (!live || live.isStopping) return;
    const stopping = live.stop();
    this.#chat.composer.focus();
    this.#chat.updateControls();
    await this.#chat.errors.guard(stopping);
    this.#chat.updateControls();
  }

  /** Say whether the reply is being written or waits for an answer, if that has changed. Other pages show it in their lists. */
  showProgress() {
    const { callAnswers, errors, tabs } = this.#chat;
    const reply = this.#live?.reply;
    if (!reply) return;
    errors.guard(callAnswers.findMayAnswer(reply));
    if (reply.isWaiting === this.#isWaiting && reply.mayAnswer === this.#mayAnswer) return;
    this.#saySo(reply);
    errors.guard(this.#chat.refreshList());
    tabs.notifyOfList();
  }

  /** Stop following: the page turns to something else, and the reply continues on the server. */
  leave() {
    this.#live?.leave();
    this.#live = null;
    this.#isCompleted = false;
  }

  /** @returns {import("./live-reply.js").LiveHandlers} */
  #handlers() {
    const { autoScroll, composer, errors } = this.#chat;
    return {
      started: (live, ids) => this.#started(live, ids),
      connectionChanged: (live, text) => this.#live === live && (text === null ? this.#saySo(live.reply) : composer.setStatus(text)),
      drawn: () => {
        autoScroll.update();
        this.showProgress();
      },
      ended: (live, ending) => this.#ended(live, ending),
      stopFailed: (error) => errors.show(error),
    };
  }

  /** @param {Reply} reply */
  #saySo(reply) {
    const { composer, translations } = this.#chat;
    this.#isWaiting = reply.isWaiting;
    this.#mayAnswer = reply.mayAnswer;
    const asks = reply.mayAnswer === false ? "call_waiting_for_other" : "asks";
    composer.setStatus(translations.say(reply.isWaiting ? asks : "writing"));
  }

  /**
   * @param {LiveReply} live
   * @param {ReplyIds} ids
   */
  #started(live, ids) {
    const { composer, element, errors, tabs } = this.#chat;
    const { conversation, message, user_message: userMessage, model } = ids;
    live.request?.accepted(ids);
    composer.confirmSent();
    if (!live.request?.conversation) this.#adopt(conversation);
    errors.guard(this.#chat.refreshList());
    tabs.notify(conversation);
    dispatchPageEvent(element, "started", { conversation, message, userMessage, model });
  }

  /**
   * The new chat has become a conversation.
   *
   * @param {string} conversation
   */
  #adopt(conversation) {
    const { composer, conversationList, location, queue } = this.#chat;
    location.go(conversation);
    composer.moveDraft(conversation);
    queue.move(conversation);
    conversationList.select(conversation);
  }

  /**
   * @param {LiveReply} live
   * @param {Ending} ending
   */
  #ended(live, ending) {
    const { status, end_reason: endReason, error = null } = ending;
    const { autoScroll, composer, element, errors, tabs, translations } = this.#chat;
    autoScroll.update();
    if (this.#live === live) {
      composer.setStatus(translations.outcome(ending) || translations.say("finished"));
      this.#isCompleted = status === "completed";
    }
    errors.guard(this.#chat.refreshList());
    tabs.notifyOfList();
    const { conversation, reply } = live;
    dispatchPageEvent(element, "ended", { conversation, message: reply.id, status, endReason, error });
  }

  /** @param {LiveReply} live */
  async #finish(live) {
    const { composer } = this.#chat;
    if (live.state === State.ENDED || live.state === State.LEFT) return;
    composer.setStatus("");
    if (live.state === State.CANCELLED) live.request?.refused(null);
    else if (live.state === State.REFUSED) await this.#refused(live);
    else this.#broken(live);
  }

  /**
   * There is no reply: what was sent comes back.
   *
   * @param {LiveReply} live
   */
  async #refused({ request, error }) {
    const { conversation, errors, view } = this.#chat;
    this.#live = null;
    const retry = request?.refused(error) ?? null;
    if (error.status === 404 && conversation) return view.startOver();
    const isWritingAnother = error.code === "reply_in_progress";
    if (isWritingAnother && retry) await errors.guard(view.reload());
    errors.show(error, isWritingAnother || error.isFinal ? null : retry);
  }

  /**
   * The reply cannot be followed any more: show what has arrived.
   *
   * @param {LiveReply} live
   */
  #broken({ reply, error }) {
    const { errors, notices, view } = this.#chat;
    view.isOutdated = true;
    reply.end({ status: "interrupted", error: { message: notices.errorText(error) } });
    errors.show(error);
  }
}
