/**
 * A reply's event stream, followed to its ending through lost connections and server restarts. No DOM.
 *
 * Every event has an id. A stream that ends without an ending event was cut; a request with the last id continues it exactly there.
 */

import { ApiError, NetworkError } from "./api.js";
import { ConnectionLost, ConnectionWatch, readEvents, wait } from "./connection.js";

/** @import { StreamEvent } from "./types" */

/** The names of the events that end a reply. */
export const ENDINGS = new Set(["done", "stopped", "interrupted", "failed"]);

const MAX_DELAY_SECONDS = 30;
// The server, or a proxy before it, is unavailable for the moment.
const UNAVAILABLE = new Set([502, 503, 504]);

/**
 * @typedef {object} FollowOptions
 * @property {((signal: AbortSignal) => Promise<Response | null>) | null} send Makes the reply. It may be called repeatedly: the
 *   server knows the request by its client_id. Null to follow only.
 * @property {(lastId: string, signal: AbortSignal) => Promise<Response | null>} resume Returns the stream after that id, "" for all
 *   of it. Like send, it returns null when there are no more events.
 * @property {string} [lastId] Where to begin.
 * @property {AbortSignal} signal
 * @property {(error: unknown) => void} connectionChanged Called with the error before every pause, and with null when the stream is back.
 * @property {number} silence Seconds without a byte after which a connection counts as dead.
 * @property {number} [retries] How many attempts may fail one after the other before it is given up; without it, it never is.
 */

/**
 * Yield a reply's events up to its ending, their data parsed. Throws the ApiError that prevents it, NetworkError after so many
 * retries, and the signal's reason when that is aborted.
 *
 * @param {FollowOptions} options
 * @returns {AsyncGenerator<StreamEvent>}
 */
export async function* followEvents(options) {
  const progress = { lastId: options.lastId ?? "", failures: 0 };
  for (;;) {
    const { isOver, cause } = yield* readResponse(options, progress);
    if (isOver) return;
    if (progress.failures === options.retries) throw cause instanceof ApiError ? cause : new NetworkError(cause);
    options.connectionChanged(cause);
    const retryAtOnce = cause instanceof ConnectionLost && (cause.isBack || progress.failures === 0);
    if (!retryAtOnce) await wait(delay(cause, progress.failures), options.signal);
    progress.failures += 1;
  }
}

/**
 * Make one request and yield its events. Returns whether there are no more, else why the connection was lost: null for a response
 * that ended without an ending event.
 *
 * @param {FollowOptions} options
 * @param {{lastId: string, failures: number}} progress failures: since the last event.
 * @returns {AsyncGenerator<StreamEvent, {isOver: boolean, cause?: any}>}
 */
async function* readResponse({ send, resume, signal, connectionChanged, silence }, progress) {
  // A failed attempt must not leave its request open.
  const attempt = new AbortController();
  const either = AbortSignal.any([signal, attempt.signal]);
  const watch = new ConnectionWatch(silence);
  try {
    const response = await watch.guard(send && !progress.lastId ? send(either) : resume(progress.lastId, either));
    if (!response) return { isOver: true };
    connectionChanged(null);
    for await (const event of readEvents(response, watch)) {
      signal.throwIfAborted();
      progress.failures = 0;
      progress.lastId = event.id || progress.lastId;
      if (event.data !== "[DONE]") yield { ...event, data: JSON.parse(event.data) };
      if (ENDINGS.has(event.event)) return { isOver: true };
    }
    return { isOver: false, cause: null };
  } catch (error) {
    signal.throwIfAborted();
    if (!isTemporary(error, Boolean(send) && !progress.lastId)) throw error;
    return { isOver: false, cause: error };
  } finally {
    watch.close();
    attempt.abort();
  }
}

/**
 * Whether another attempt may succeed. A rate limit (429) is for the user to repeat, until the reply has begun.
 *
 * @param {unknown} error
 * @param {boolean} isSending
 */
export function isTemporary(error, isSending) {
  if (!(error instanceof ApiError)) return true;
  return UNAVAILABLE.has(error.status) || (error.status === 429 && !isSending);
}

/**
 * Return the seconds before the next attempt: what the server asked for, else 1 to 30, longer each time. The random share keeps many
 * pages from returning at the same moment.
 *
 * @param {{retryAfter?: number | null} | null} cause
 * @param {number} failures
 */
export function delay(cause, failures, random = Math.random) {
  if (cause?.retryAfter) return cause.retryAfter * (1 + random() / 4);
  return Math.min(MAX_DELAY_SECONDS, 2 ** failures * (1 + random() / 2));
}
