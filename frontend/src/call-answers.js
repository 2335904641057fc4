/** Sends the user's answers to tool calls, and notices those that were given in other tabs and on other devices. */

import { ApiError } from "./api.js";
import { Reply } from "./reply.js";

/**
 * @import { GivenAnswer } from "./call-answer.js"
 * @import { Chat } from "./chat.js"
 */

export class CallAnswers {
  #chat;

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
      this.#note(reply, [given, ...(message.answers ?? [])]);
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
    this.#note(last, message.answers ?? []);
  }

  /**
   * @param {Reply} reply
   * @param {{call: string, approved: boolean}[]} answers
   */
  #note(reply, answers) {
    reply.noteAnswers(answers);
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
