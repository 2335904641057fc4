/** Keeps the page up to date with what the user does in other tabs and on other devices. */

/** @import { Chat } from "./chat.js" */

export class TabSync {
  #chat;
  #channel;

  /** @param {Chat} chat */
  constructor(chat) {
    this.#chat = chat;
    this.#channel = new BroadcastChannel(`streaming_chat:${chat.config.sharedScope}`);
  }

  start() {
    const { errors, signal } = this.#chat;
    this.#channel.addEventListener("message", ({ data }) => this.#changedInOtherTab(data.conversation));
    document.addEventListener("visibilitychange", () => errors.guard(this.#visibilityChanged()), { signal });
  }

  close() {
    this.#channel.close();
  }

  /**
   * Tell the other tabs that a conversation has changed.
   *
   * @param {string} conversation
   */
  notify(conversation) {
    this.#channel.postMessage({ conversation });
  }

  /** Tell the other tabs that something in the list has changed, and no messages. */
  notifyOfList() {
    this.#channel.postMessage({});
  }

  /** @param {string | undefined} conversation Undefined if no messages have changed. */
  #changedInOtherTab(conversation) {
    const { callAnswers, errors, follower, view } = this.#chat;
    errors.guard(this.#chat.refreshList());
    if (conversation !== this.#chat.conversation) return;
    if (follower.isFollowing) errors.guard(callAnswers.refresh());
    else if (this.#hasUnsentText) view.isOutdated = true;
    else errors.guard(view.reload());
  }

  async #visibilityChanged() {
    if (document.visibilityState !== "visible") return;
    this.#chat.marks.update();
    await this.#checkForChanges();
    // Without an answer there is nothing to show, and nothing to complain about.
    await this.#chat.refreshList().catch(() => {});
  }

  /** The page is in front again: another device may have continued the conversation, or a reply was written without this page. */
  async #checkForChanges() {
    const { api, callAnswers, conversation, follower, messages, view } = this.#chat;
    if (follower.isFollowing) return callAnswers.refresh().catch(() => {});
    if (!conversation || this.#hasUnsentText) return;
    const hasChanged = view.watchForChanges();
    const found = await api.get(`api/conversations/${conversation}?limit=1`).catch(() => null);
    if (!found || hasChanged()) return;
    if (view.isOutdated || found.head !== messages.last?.id) await view.reload();
  }

  /** Whether a message in view has a form with text in it, which showing the messages again would remove. */
  get #hasUnsentText() {
    return Boolean(this.#chat.parts.messages.querySelector(".sc-edit, .sc-comment:not([hidden]), .sc-denial:not([hidden])"));
  }
}
