/** One request for an event stream and its response, and when to give them up. No DOM beyond the window's own events. */

import { createParser } from "eventsource-parser";

// A page that comes back to the front gives up a connection that has been silent for so long: it may be one that did not
// survive the sleep, and asking again costs a request.
const FRESH_SECONDS = 2;

/** The connection is to be opened anew; nothing is wrong with the reply. isBack: the network or the page is back just now. */
export class Lost extends Error {
  constructor(isBack = false) {
    super("the connection was given up");
    this.isBack = isBack;
  }
}

/** Yield the events of a response as {event, data, id}, id "" where an event has none. Throws Lost when its watch says so. */
export async function* read(response, watch) {
  const arrived = [];
  const parser = createParser({
    onEvent: ({ event = "message", data, id = "" }) => arrived.push({ event, data, id }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await watch.over(reader.read());
      if (done) return;
      watch.heard();
      parser.feed(value);
      yield* arrived.splice(0);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Return after so many seconds, or as soon as another try has better chances. Throws signal's reason when it is aborted. */
export function wait(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = whenBack(() => finish(resolve));
    const timer = setTimeout(() => finish(resolve), seconds * 1000);
    const aborted = () => finish(() => reject(signal.reason));
    const finish = (settle) => {
      clearTimeout(timer);
      stop();
      signal.removeEventListener("abort", aborted);
      settle();
    };
    signal.addEventListener("abort", aborted);
    if (signal.aborted) aborted();
  });
}

/**
 * Watches over a connection, from the request on. A line that is dead in one direction only takes requests, too.
 *
 * silence: seconds without a byte after which it counts as dead; heartbeats are bytes. It is given up then, when the network
 * changes (`online`), and when the page wakes up.
 */
export class Watch {
  #heard = Date.now();
  #lost;
  #reject;
  #timer;
  #stop;

  constructor(silence) {
    this.#lost = new Promise((_resolve, reject) => (this.#reject = reject));
    // Closed, it has nobody to tell.
    this.#lost.catch(() => {});
    // By the clock: a timer stands still while the machine sleeps.
    this.#timer = setInterval(() => this.#silent(silence) && this.#reject(new Lost()), Math.min(1000, silence * 500));
    this.#stop = whenBack((cause) => (cause === "online" || this.#silent(FRESH_SECONDS)) && this.#reject(new Lost(true)));
  }

  /** Return what the promise gives; throws Lost as soon as the connection is given up. */
  over(promise) {
    return Promise.race([promise, this.#lost]);
  }

  heard() {
    this.#heard = Date.now();
  }

  close() {
    clearInterval(this.#timer);
    this.#stop();
  }

  #silent(seconds) {
    return Date.now() - this.#heard > seconds * 1000;
  }
}

/** Call back with "online" or "visible" when there is a network again, or the page is in front again. Returns how to end it. */
function whenBack(call) {
  const online = () => call("online");
  const visible = () => document.visibilityState === "visible" && call("visible");
  globalThis.addEventListener?.("online", online);
  globalThis.document?.addEventListener("visibilitychange", visible);
  return () => {
    globalThis.removeEventListener?.("online", online);
    globalThis.document?.removeEventListener("visibilitychange", visible);
  };
}
