/**
 * Following a reply to its ending, through cut connections and restarting servers. No DOM.
 *
 * Every event has an id; a stream that ends without an ending was cut, and goes on exactly there when it is asked for
 * with the last id.
 */

import { Refusal } from "./api.js";
import { Lost, Watch, read, wait } from "./connection.js";

export const ENDINGS = new Set(["done", "stopped", "interrupted", "failed"]);

const LONGEST_WAIT = 30;
// The server, or a proxy before it, is away for the moment.
const AWAY = new Set([502, 503, 504]);

/**
 * Yield a reply's events as {event, data, id}, data parsed, up to its ending.
 *
 * send(signal): makes the reply, and may be called again: the server knows it by its client_id. Null to follow only.
 * resume(lastId, signal): asks for the stream after that id, "" for all of it. Both return a Response, null when there
 * is nothing more to come. lastId: where to begin.
 * trouble(error): told of every wait before another try, and with null when the stream is back.
 * silence: seconds without a byte after which a connection counts as dead.
 * Throws the Refusal that ends it, and signal's reason when that is aborted.
 */
export async function* follow({ send, resume, lastId = "", signal, trouble, silence }) {
  let failures = 0;
  for (;;) {
    let cause = null;
    // Of this try: what fails must not leave a request behind it.
    const attempt = new AbortController();
    const either = AbortSignal.any([signal, attempt.signal]);
    const watch = new Watch(silence);
    try {
      const response = await watch.over(send && !lastId ? send(either) : resume(lastId, either));
      if (!response) return;
      trouble(null);
      for await (const event of read(response, watch)) {
        signal.throwIfAborted();
        failures = 0;
        lastId = event.id || lastId;
        if (event.data === "[DONE]") continue;
        yield { ...event, data: JSON.parse(event.data) };
        if (ENDINGS.has(event.event)) return;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error, Boolean(send) && !lastId)) throw error;
      cause = error;
    } finally {
      watch.close();
      attempt.abort();
    }
    trouble(cause);
    const isHopeful = cause instanceof Lost && (cause.isBack || failures === 0);
    if (!isHopeful) await wait(delay(cause, failures), signal);
    failures += 1;
  }
}

/** Whether another try may go better. A refusal for a limit (429) is the reader's to repeat, until the reply began. */
export function isPassing(error, sending) {
  if (!(error instanceof Refusal)) return true;
  return AWAY.has(error.status) || (error.status === 429 && !sending);
}

/** Return the seconds before another try: what the server asked for, else 1 to 30, longer each time; never in step. */
export function delay(cause, failures, random = Math.random) {
  if (cause?.retryAfter) return cause.retryAfter * (1 + random() / 4);
  return Math.min(LONGEST_WAIT, 2 ** failures * (1 + random() / 2));
}
