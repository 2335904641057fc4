/** Fetches a reply while its stream is silent: a buffering proxy delivers a stream all at once at the end, or never. */

import { wait } from "./connection.js";

/** @import { Message } from "./types" */

const FIRST_POLL_SECONDS = 10;
const PERIOD_SECONDS = 2;
// While the reply waits for an answer, which may take a day.
const WAITING_PERIOD_SECONDS = 15;

/** Starts polling when no event has arrived for a while, and goes on until one arrives or the reply has ended. */
export class ReplyPoller {
  #stopped = new AbortController();
  #signal;

  /**
   * @param {object} options
   * @param {(signal: AbortSignal) => Promise<Message>} options.fetch May throw; then the next poll tries again.
   * @param {(message: Message) => boolean} options.show Returns whether the message is complete.
   * @param {AbortSignal} options.signal
   */
  constructor({ fetch, show, signal }) {
    this.#signal = AbortSignal.any([signal, this.#stopped.signal]);
    this.#poll(fetch, show).catch(() => {});
  }

  get isRunning() {
    return !this.#signal.aborted;
  }

  stop() {
    this.#stopped.abort();
  }

  /**
   * @param {(signal: AbortSignal) => Promise<Message>} fetch
   * @param {(message: Message) => boolean} show
   */
  async #poll(fetch, show) {
    await wait(FIRST_POLL_SECONDS, this.#signal);
    for (;;) {
      const message = await fetch(this.#signal).catch(() => null);
      this.#signal.throwIfAborted();
      if (message && show(message)) return;
      await wait(message?.status === "waiting" ? WAITING_PERIOD_SECONDS : PERIOD_SECONDS, this.#signal);
    }
  }
}
