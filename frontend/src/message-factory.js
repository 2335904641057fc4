/** Makes the views of messages, and connects their buttons to the chat. */

import { isLive } from "./live-state.js";
import { Reply } from "./reply.js";
import { UserMessage } from "./user-message.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Thumb } from "./feedback.js"
 * @import { Message } from "./types"
 */

export class MessageFactory {
  #chat;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Return the view of a message that the API has.
   *
   * @param {Message} message
   */
  make(message) {
    return message.role === "user" ? this.#savedUserMessage(message) : this.#savedReply(message);
  }

  /** @param {string} text */
  userMessage(text) {
    const { branches, errors, sender, templates, translations } = this.#chat;
    /** @type {import("./user-message.js").UserMessageHandlers} */
    const on = {
      edit: (message, edited) => errors.guard(sender.edit(message, edited)),
      step: (message, direction) => errors.guard(branches.step(message, direction)),
    };
    return new UserMessage({ templates, translations, on }, text);
  }

  /** Return the view of a reply of which nothing has arrived. */
  reply() {
    const { api, branches, callAnswers, composer, config, errors, sender, templates, translations } = this.#chat;
    /** @type {import("./reply.js").ReplyHandlers} */
    const on = {
      regenerate: (reply) => errors.guard(sender.regenerate(reply)),
      chooseModel: (reply, opener) => composer.models.openMenu(opener, reply.model, (model) => errors.guard(sender.regenerate(reply, model))),
      goOn: (reply) => errors.guard(sender.goOn(reply)),
      step: (reply, direction) => errors.guard(branches.step(reply, direction)),
      saveFeedback: (reply, value, comment) => this.#saveFeedback(reply, value, comment),
      answer: (reply, given) => callAnswers.give(reply, given),
      fetch: (reply) => errors.guard(api.get(`api/messages/${reply.id}`)),
      labelOf: (model) => composer.models.labelOf(model),
    };
    return new Reply({ templates, translations, modules: config.modules, on });
  }

  /** @param {Message} message */
  #savedUserMessage({ id, parent, text, siblings }) {
    const view = this.userMessage(text);
    view.confirmSent(id, parent, siblings);
    return view;
  }

  /** @param {Message} message */
  #savedReply(message) {
    const view = this.reply();
    if (isLive(message.status)) view.resume(message);
    else view.show(message);
    return view;
  }

  /**
   * Returns whether the feedback was saved.
   *
   * @param {Reply} reply
   * @param {Thumb} value Null removes it.
   * @param {string} comment
   */
  async #saveFeedback({ id }, value, comment) {
    const { api, errors } = this.#chat;
    const path = `api/messages/${id}/feedback`;
    try {
      await (value === null ? api.json("DELETE", path) : api.json("PUT", path, { value, comment }));
      return true;
    } catch (error) {
      errors.show(error);
      return false;
    }
  }
}
