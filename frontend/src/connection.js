/** One response with an event stream, and when its connection counts as lost. No DOM beyond the events of the window itself. */

import { createParser } from "eventsource-parser";

// When a page comes back to the front, a connection that has been silent for so long is given up: it may not have survived the
// computer's sleep, and a new request is cheap.
const FRESH_SECONDS = 2;

/** The connection was given up and should be opened again; nothing is wrong with the reply. */
export class ConnectionLost extends Error {
  /** @param {boolean} isBack Whether the network or the page has just come back. */
  constructor(isBack = false) {
    super("the connection was given up");
    this.isBack = isBack;
  }
}

/**
 * Yield the events of a response; the id of an event without one is "". Throws ConnectionLost when the watch gives up.
 *
 * @param {Response} response
 * @param {ConnectionWatch} watch
 * @returns {AsyncGenerator<{event: string, data: string, id: string}>}
 */
export async function* readEvents(response, watch) {
  /** @type {{event: string, data: string, id: string}[]} */
  const arrived = [];
  const parser = createParser({
    onEvent: ({ event = "message", data, id = "" }) => arrived.push({ event, data, id }),
  });
  const body = /** @type {ReadableStream<BufferSource>} */ (response.body);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await watch.guard(reader.read());
      if (done) return;
      watch.receivedBytes();
      parser.feed(value);
      yield* arrived.splice(0);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Wait for so many seconds, or until the network or the page comes back. Throws the signal's reason when that is aborted.
 *
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stopListening = onReturn(() => finish(resolve));
    const timer = setTimeout(() => finish(resolve), seconds * 1000);
    const aborted = () => finish(() => reject(signal.reason));
    const finish = (/** @type {() => void} */ settle) => {
      clearTimeout(timer);
      stopListening();
      signal.removeEventListener("abort", aborted);
      settle();
    };
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
  });
}

/**
 * Decides when a connection is lost, from the request on: a connection may accept requests and bring no answers.
 *
 * It is lost after too long a silence (heartbeats are bytes), when the network changes (`online`), and when the page wakes up.
 */
export class ConnectionWatch {
  #lastByte = Date.now();
  /** @type {Promise<never>} */
  #lost;
  /** @type {(error: ConnectionLost) => void} */
  #giveUp = () => {};
  #timer;
  #stopListening;

  /** @param {number} silence Seconds without a byte after which the connection counts as lost. */
  constructor(silence) {
    this.#lost = new Promise((_resolve, reject) => (this.#giveUp = reject));
    // After `close` nobody awaits it.
    this.#lost.catch(() => {});
    // Compares clock times: a timer stands still while the computer sleeps.
    this.#timer = setInterval(() => this.#isSilent(silence) && this.#giveUp(new ConnectionLost()), Math.min(1000, silence * 500));
    this.#stopListening = onReturn((cause) => {
      if (cause === "online" || this.#isSilent(FRESH_SECONDS)) this.#giveUp(new ConnectionLost(true));
    });
  }

  /**
   * Return what the promise gives. Throws ConnectionLost as soon as the connection is given up.
   *
   * @template T
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  guard(promise) {
    return Promise.race([promise, this.#lost]);
  }

  receivedBytes() {
    this.#lastByte = Date.now();
  }

  close() {
    clearInterval(this.#timer);
    this.#stopListening();
  }

  /** @param {number} seconds */
  #isSilent(seconds) {
    return Date.now() - this.#lastByte > seconds * 1000;
  }
}

/**
 * Call back when the network is there again ("online") or the page is in front again ("visible"). Returns a function that ends it.
 *
 * @param {(cause: "online" | "visible") => void} call
 */
function onReturn(call) {
  const online = () => call("online");
  const visible = () => document.visibilityState === "visible" && call("visible");
  // The tests run in Node.js, which has neither.
  globalThis.addEventListener?.("online", online);
  globalThis.document?.addEventListener("visibilitychange", visible);
  return () => {
    globalThis.removeEventListener?.("online", online);
    globalThis.document?.removeEventListener("visibilitychange", visible);
  };
}
