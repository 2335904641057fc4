/** The conversation in view: shows it as the server has it, and follows its reply while that is being written. */

import { ApiError } from "./api.js";
import { isLive } from "./live-state.js";
import { Reply } from "./reply.js";

/**
 * @import { Chat } from "./chat.js"
 * @import { Conversation, EarlierPage, OpenConversation } from "./types"
 */

// So many messages are shown at once; each costs about 3 ms with its Markdown.
const PAGE_SIZE = 30;

export class ConversationView {
  #chat;
  // Numbers the requests: an answer is dropped when a later one has begun.
  #loads = 0;
  #isSendDue = false;
  /** While it is loading nothing is sent: the answer would take the new message off the page. */
  isLoading = false;
  /** Whether the server has more than the page shows. */
  isOutdated = false;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
  }

  /**
   * Show another conversation, "" for a new chat.
   *
   * @param {string} id
   */
  async show(id) {
    const { composer, conversationList, follower, foundWords, messages, notices, queue } = this.#chat;
    this.#isSendDue = false;
    follower.leave();
    foundWords.clear();
    composer.open(id);
    queue.open(id);
    conversationList.select(id);
    notices.hideError();
    composer.setStatus("");
    messages.show([], null);
    if (!id) this.setTitle(null);
    this.#chat.updateControls();
    await this.reload();
  }

  /** Load the conversation and show it. */
  async reload() {
    const { conversation, errors, follower, messages, sender } = this.#chat;
    this.#loads += 1;
    const load = this.#loads;
    const isFirst = messages.isEmpty;
    /** @type {boolean | undefined} */
    let hasFinished;
    /** @type {boolean | undefined} */
    let isSendDue;
    this.isLoading = Boolean(conversation);
    if (!conversation) return this.#chat.updateControls();
    try {
      const found = await this.#fetch(conversation);
      if (!found || load !== this.#loads) return;
      follower.leave();
      this.#fill(found, isFirst);
      // The reply that the queue waited for was finished while this page did not follow it.
      hasFinished = isFirst && found.messages.at(-1)?.status === "completed";
      isSendDue = this.#isSendDue;
    } finally {
      if (load === this.#loads) this.isLoading = this.#isSendDue = false;
    }
    if (hasFinished) errors.guard(sender.sendQueued());
    if (isSendDue) errors.guard(sender.send());
  }

  /** Send what the composer holds when the conversation is loaded, unless another one is shown before. */
  sendOnceLoaded() {
    this.#isSendDue = true;
  }

  /**
   * Return the messages before one of those in view.
   *
   * @param {string} id
   * @returns {Promise<EarlierPage>}
   */
  fetchBefore(id) {
    const { api, conversation } = this.#chat;
    return api.get(`api/conversations/${conversation}/messages?before=${id}&limit=${PAGE_SIZE}`);
  }

  /** Ignore what is being loaded, and stop following the reply. */
  close() {
    this.#loads += 1;
    this.#chat.follower.leave();
  }

  /** Return a function that tells whether the user has loaded or sent something since this call. */
  watchForChanges() {
    const load = this.#loads;
    return () => load !== this.#loads || this.#chat.follower.isFollowing;
  }

  /** @param {Conversation | null} conversation Null for a new chat. */
  setTitle(conversation) {
    const { layout, parts, translations } = this.#chat;
    const title = conversation ? conversation.title || translations.say("untitled") : translations.say("new_chat");
    parts.title.textContent = title;
    parts.tools.hidden = !conversation;
    layout.setTitle(title);
  }

  /** The conversation no longer exists: begin a new one with the text that is being written. */
  async startOver() {
    const { composer, errors, location, messages, notices, translations } = this.#chat;
    const { text } = composer;
    // A conversation that was only remembered from the last visit can go without a word.
    const wasInView = !messages.isEmpty;
    location.go("");
    await this.show("");
    if (!composer.text) composer.write(text);
    if (wasInView) notices.showInfo(translations.say("gone"));
    errors.guard(this.#chat.refreshList());
  }

  /**
   * @param {string} id
   * @returns {Promise<OpenConversation | null>}
   */
  async #fetch(id) {
    try {
      return await this.#chat.api.get(`api/conversations/${id}?limit=${PAGE_SIZE}`);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      await this.startOver();
      return null;
    }
  }

  /**
   * @param {OpenConversation} conversation
   * @param {boolean} isFirst Whether nothing was shown before.
   */
  #fill({ messages, earlier, ...conversation }, isFirst) {
    const { autoScroll, composer, errors, follower } = this.#chat;
    const { isFollowing } = autoScroll;
    this.isOutdated = false;
    this.#chat.keepFocus(() => {
      this.setTitle(conversation);
      composer.suggestModel({ model: conversation.model, effort: messages.at(-1)?.effort ?? "" });
      this.#chat.messages.show(messages, earlier);
      this.#chat.updateControls();
    });
    if (isFollowing || isFirst) autoScroll.jump();
    const { last } = this.#chat.messages;
    if (isLive(messages.at(-1)?.status) && last instanceof Reply) errors.guard(follower.follow(last));
  }
}
