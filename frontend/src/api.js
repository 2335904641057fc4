/** The app's HTTP API (docs/http-api.md): requests in JSON, answers in JSON or as an event stream. */

/** @import { ErrorBody } from "./types" */

// The server answers within seconds; a stop waits 5 s for the ending. A connection that is half dead never answers.
const TIMEOUT_SECONDS = 30;

/** An answer with an error status, or one that is not the app's (code "unexpected"). */
export class ApiError extends Error {
  /**
   * @param {number} status HTTP's.
   * @param {ErrorBody} error
   * @param {number | null} retryAfter Seconds, null when the server did not say.
   */
  constructor(status, error, retryAfter = null) {
    // The error of a message's text is complete; errors of other fields mean something to programs only.
    super(error.fields?.content ?? [error.message, ...Object.values(error.fields ?? {})].join(" "));
    this.name = "ApiError";
    this.status = status;
    this.code = error.code;
    this.retryAfter = retryAfter;
    /** Whether repeating the same request is useless. */
    this.isFinal = error.retryable === false && status < 500 && status !== 401;
  }
}

/** No answer came, or none in time. */
export class NetworkError extends Error {
  /** @param {unknown} cause */
  constructor(cause) {
    super("the server could not be reached", { cause });
    this.name = "NetworkError";
  }
}

/**
 * @typedef {{body?: unknown, headers?: Record<string, string>, signal?: AbortSignal}} RequestOptions
 * @typedef {() => Record<string, string> | Promise<Record<string, string>>} HeaderSource
 */

export class Api {
  #csrfToken;
  #csrfHeader;
  #isStranger;
  #unexpected;
  #credentials;
  #moreHeaders;

  /**
   * @param {object} options
   * @param {string} options.root The app's address, ending in a slash; all paths are relative to it.
   * @param {string | null} options.csrfToken From the page, so that sites may hide the cookie or have none; null if the server is to
   *   be asked for it, "" if none is needed.
   * @param {string} options.csrfHeader The header in which the site looks for the token.
   * @param {boolean} options.isStranger Whether the user is a visitor whom the server does not know yet.
   * @param {string} options.unexpected The text for an answer that is not the app's.
   * @param {RequestCredentials} [options.credentials] Whether cookies are sent.
   * @param {HeaderSource} [options.moreHeaders] Called for each request.
   */
  constructor({ root, csrfToken, csrfHeader, isStranger, unexpected, credentials = "same-origin", moreHeaders = () => ({}) }) {
    this.root = root;
    this.#csrfToken = csrfToken;
    this.#csrfHeader = csrfHeader;
    this.#isStranger = isStranger;
    this.#unexpected = unexpected;
    this.#credentials = credentials;
    this.#moreHeaders = moreHeaders;
  }

  /**
   * @param {string} path
   * @param {RequestOptions} [options]
   */
  get(path, options) {
    return this.json("GET", path, undefined, options);
  }

  /**
   * Return the JSON of the answer, null when it has no body. Throws ApiError or NetworkError. A body that is a string is JSON already.
   *
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async json(method, path, body, options = {}) {
    const timeout = AbortSignal.timeout(TIMEOUT_SECONDS * 1000);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const response = await this.#request(method, path, { ...options, body, signal });
    if (response.status === 204) return null;
    return response.json().catch(() => Promise.reject(this.#error(response, {})));
  }

  /**
   * Return the response of an event stream, null when there are no more events (204). Throws as `json` does.
   *
   * @param {string} method
   * @param {string} path
   * @param {{body?: unknown, lastId?: string, signal: AbortSignal}} options lastId: the event after which the stream continues.
   */
  async stream(method, path, { body, lastId, signal }) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    if (lastId) headers["Last-Event-ID"] = lastId;
    const response = await this.#request(method, path, { body, headers, signal });
    if (response.status === 204) return null;
    if (!isEventStream(response)) throw this.#error(response, {});
    return response;
  }

  /**
   * Send a request. Before the first one of a new visitor, the visitor's cookie is fetched.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   */
  async #request(method, path, options) {
    if (this.#isStranger && method !== "GET") {
      // The cookie must not come with a stream: a proxy may hold that back with all its headers.
      await this.#sendWithToken("POST", "api/token", { signal: options.signal });
      this.#isStranger = false;
    }
    return this.#sendWithToken(method, path, options);
  }

  /**
   * Send a request; if the CSRF token has expired, send it again with a new one.
   *
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   */
  async #sendWithToken(method, path, options) {
    if (method !== "GET" && this.#csrfToken === null) await this.#renewToken(options);
    try {
      return await this.#send(method, path, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "csrf_failed") throw error;
      await this.#renewToken(options);
      return this.#send(method, path, options);
    }
  }

  /** @param {RequestOptions} options */
  async #renewToken({ signal }) {
    const answer = await this.#send("GET", "api/token", { signal });
    this.#csrfToken = (await answer.json()).csrf_token;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {RequestOptions} options
   */
  async #send(method, path, { body, headers = {}, signal }) {
    headers = { ...headers, ...(await this.#moreHeaders()) };
    if (method !== "GET" && this.#csrfToken) headers[this.#csrfHeader] = this.#csrfToken;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    /** @type {RequestInit} */
    const options = { method, headers, body: text, signal, credentials: this.#credentials, cache: "no-store" };
    const response = await fetch(this.root + path, options).catch((error) => Promise.reject(new NetworkError(error)));
    if (!response.ok) throw this.#error(response, await response.json().catch(() => ({})));
    return response;
  }

  /**
   * @param {Response} response
   * @param {{error?: ErrorBody} | null} body
   */
  #error(response, body) {
    const error = body?.error?.code ? body.error : { code: "unexpected", message: this.#unexpected };
    return new ApiError(response.status, error, seconds(response.headers.get("Retry-After")));
  }
}

/** @param {Response} response */
function isEventStream(response) {
  return (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}

/** @param {string | null} header */
function seconds(header) {
  return /^\d+$/.test(header ?? "") ? Number(header) : null;
}
