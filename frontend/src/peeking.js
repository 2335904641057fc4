/**
 * Asking for a reply whose stream brings nothing: a proxy that buffers hands the whole of it over at the end, or never.
 */

import { wait } from "./connection.js";

const PATIENCE_SECONDS = 10;
const PERIOD_SECONDS = 2;

/**
 * Watches for the first event. Without one in time it asks, and goes on asking until one comes or the reply has ended.
 *
 * ask(signal): returns the reply as the API has it, null as long as there is none; may throw.
 * shown(message): shows it; returns whether that was all.
 */
export class Peeking {
  #heard = new AbortController();

  constructor({ ask, shown, signal }) {
    this.signal = AbortSignal.any([signal, this.#heard.signal]);
    this.#work(ask, shown).catch(() => {});
  }

  /** Whether it has nothing to do any more. */
  get isOver() {
    return this.signal.aborted;
  }

  /** An event has come: the stream works. */
  heard() {
    this.#heard.abort();
  }

  async #work(ask, shown) {
    await wait(PATIENCE_SECONDS, this.signal);
    for (;;) {
      // What cannot be asked now may be asked the next time.
      const message = await ask(this.signal).catch(() => null);
      this.signal.throwIfAborted();
      if (message && shown(message)) return;
      await wait(PERIOD_SECONDS, this.signal);
    }
  }
}
