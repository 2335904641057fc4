/** Sends the user's answers to tool calls, and notices answers from other tabs and devices. */

import { ApiError } from "./api.js";
import { Reply } from "./reply.js";

/**
 * @import { GivenAnswer } from "./call-answer.js"
 * @import { Chat } from "./chat.js"
 */

export class CallAnswers {
  #chat;
  /** @type {WeakSet<Reply>} Replies for which the server is being asked whether the user may answer. */
  #asking = new WeakSet();

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Send an answer; the stream of the reply, which stays open, shows what follows. Returns whether it was taken.
   *
   * @param {Reply} reply
   * @param {GivenAnswer} given
   */
  async give(reply, given) {
    const { api, conversation, errors, notices, tabs } = this.#chat;
    notices.hideError();
    try {
      const message = await api.json("POST", `api/messages/${reply.id}/answers`, bodyOf(given));
      this.#note(reply, [given, ...(message.answers ?? [])], message.may_answer);
      tabs.notify(conversation);
      return true;
    } catch (error) {
      errors.show(error);
      // It was answered elsewhere.
      if (error instanceof ApiError && error.status === 409) await errors.guard(this.refresh());
      return false;
    }
  }

  /** Show the answers that the server has to the reply in view, if it waits. */
  async refresh() {
    const { api, messages } = this.#chat;
    const { last } = messages;
    if (!(last instanceof Reply) || !last.isWaiting) return;
    const message = await api.get(`api/messages/${last.id}`);
    this.#note(last, message.answers ?? [], message.may_answer);
  }

  /**
   * Find out whether the user may answer a reply that waits: its stream, which is the same for all readers, does not say so.
   * If that fails, the questions are shown, and the server decides.
   *
   * @param {Reply} reply
   */
  async findMayAnswer(reply) {
    if (!reply.isWaiting || reply.mayAnswer !== undefined || this.#asking.has(reply)) return;
    this.#asking.add(reply);
    const message = await this.#chat.api.get(`api/messages/${reply.id}`).catch(() => null);
    this.#asking.delete(reply);
    this.#note(reply, message?.answers ?? [], message?.may_answer ?? true);
  }

  /**
   * @param {Reply} reply
   * @param {{call: string, approved: boolean}[]} answers
   * @param {boolean} [mayAnswer]
   */
  #note(reply, answers, mayAnswer) {
    reply.noteAnswers(answers, mayAnswer);
    this.#chat.follower.showProgress();
  }
}

/**
 * Return the body of the request, as text: changed arguments are sent as the user wrote them.
 *
 * @param {GivenAnswer} given
 */
function bodyOf({ changed, ...answer }) {
  const fields = JSON.stringify(answer).slice(1, -1);
  return `{"answers":[{${fields}${changed === undefined ? "" : `,"arguments":${changed}`}}]}`;
}
