/**
 * Notices the endings of replies that are shown in the list and not followed. While there are any, it asks the server once a second
 * which replies are being written; otherwise, it asks nothing.
 */

/**
 * @import { Api } from "./api.js"
 * @import { ConversationPage } from "./types"
 */

const MILLISECONDS = 1000;
// After a request without an answer.
const RETRY_MILLISECONDS = 10_000;

export class LiveWatch {
  #api;
  #followed;
  #changed;
  /** @type {string[]} Conversations with a live reply, as the list shows them. */
  #watched = [];
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {Api} options.api
   * @param {() => string} options.followed Returns the conversation whose reply is followed, "" for none.
   * @param {() => Promise<unknown>} options.changed Called when a reply has ended; calls `watch` again.
   * @param {AbortSignal} options.signal
   */
  constructor({ api, followed, changed, signal }) {
    this.#api = api;
    this.#followed = followed;
    this.#changed = changed;
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** @param {string[]} conversations Those with a live reply, in place of the ones before. */
  watch(conversations) {
    this.#watched = conversations;
    if (this.#timer === undefined) this.#schedule(MILLISECONDS);
  }

  /** @param {number} milliseconds */
  #schedule(milliseconds) {
    this.#timer = this.#watched.length ? setTimeout(() => this.#look(), milliseconds) : undefined;
  }

  async #look() {
    const followed = this.#followed();
    const others = this.#watched.filter((id) => id !== followed);
    // Without an answer nothing is shown: the user's next request says what is wrong.
    const isAnswered = await this.#check(others).then(() => true, () => false);
    this.#schedule(isAnswered ? MILLISECONDS : RETRY_MILLISECONDS);
  }

  /** @param {string[]} conversations */
  async #check(conversations) {
    if (!conversations.length) return;
    /** @type {ConversationPage} */
    const { results } = await this.#api.get("api/conversations?status=streaming&limit=100");
    const live = new Set(results.map(({ id }) => id));
    if (conversations.some((id) => !live.has(id))) await this.#changed();
  }
}
