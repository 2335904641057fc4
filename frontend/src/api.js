/** The app's HTTP API, as docs/http-api.md has it: JSON in, JSON or an event stream out. */

// The server answers within seconds; a stop waits 5 s for the ending. A line that is half dead never does.
const PATIENCE_SECONDS = 30;

/** An answer that is an error. retryAfter: seconds, null when the server did not say. isFinal: the same again is in vain. */
export class Refusal extends Error {
  constructor(status, error, retryAfter = null) {
    // Of a message the server says all there is to say; other fields are a program's.
    super(error.fields?.content ?? [error.message, ...Object.values(error.fields ?? {})].join(" "));
    this.name = "Refusal";
    this.status = status;
    this.code = error.code;
    this.reply = error.reply ?? null;
    this.retryAfter = retryAfter;
    this.isFinal = error.retryable === false && status < 500 && status !== 401;
  }
}

/** No answer came, or none in time. */
export class Unreachable extends Error {
  constructor(cause) {
    super("the server was not reached", { cause });
    this.name = "Unreachable";
  }
}

/**
 * root: the app's address, ending in a slash; all paths are relative to it.
 * csrfToken: from the page, so that sites may hide or not have the cookie. csrfHeader: in which the site looks for it.
 * isStranger: whether who asks is a visitor whom the server does not know yet.
 * unexpected: what to say when the answer is not the app's.
 */
export class Api {
  constructor({ root, csrfToken, csrfHeader, isStranger, unexpected }) {
    this.root = root;
    this.isStranger = isStranger;
    this.csrfToken = csrfToken;
    this.csrfHeader = csrfHeader;
    this.unexpected = unexpected;
  }

  get(path, options) {
    return this.json("GET", path, undefined, options);
  }

  /** Return the answer's JSON, null when it has no body. Throws Refusal, or Unreachable. */
  async json(method, path, body, options = {}) {
    const late = AbortSignal.timeout(PATIENCE_SECONDS * 1000);
    const signal = options.signal ? AbortSignal.any([options.signal, late]) : late;
    const response = await this.request(method, path, { ...options, body, signal });
    if (response.status === 204) return null;
    return response.json().catch(() => Promise.reject(this.#refusal(response, {})));
  }

  /** Return the response of an event stream, null when there is nothing more to come (204). Throws as `json`. */
  async stream(method, path, { body, lastId, signal }) {
    const headers = { Accept: "text/event-stream" };
    if (lastId) headers["Last-Event-ID"] = lastId;
    const response = await this.request(method, path, { body, headers, signal });
    if (response.status === 204) return null;
    if (!isEventStream(response)) throw this.#refusal(response, {});
    return response;
  }

  /** Send a request; a visitor's first one is to become known. */
  async request(method, path, options = {}) {
    if (this.isStranger && method !== "GET") {
      // The cookie must not come with a stream, which a proxy may hold back with all its headers.
      await this.#withToken("POST", "api/token", { signal: options.signal });
      this.isStranger = false;
    }
    return this.#withToken(method, path, options);
  }

  /** Send it; where the token has expired, once more with a fresh one. */
  async #withToken(method, path, options) {
    try {
      return await this.#once(method, path, options);
    } catch (error) {
      if (error.code !== "csrf_failed") throw error;
      const answer = await this.#once("GET", "api/token", { signal: options.signal });
      this.csrfToken = (await answer.json()).csrf_token;
      return this.#once(method, path, options);
    }
  }

  async #once(method, path, { body, headers = {}, signal } = {}) {
    if (method !== "GET") headers = { ...headers, [this.csrfHeader]: this.csrfToken };
    if (body !== undefined) headers = { ...headers, "Content-Type": "application/json" };
    const text = body === undefined ? undefined : JSON.stringify(body);
    const options = { method, headers, body: text, signal, credentials: "same-origin", cache: "no-store" };
    const response = await fetch(this.root + path, options).catch((error) => Promise.reject(new Unreachable(error)));
    if (!response.ok) throw this.#refusal(response, await response.json().catch(() => ({})));
    return response;
  }

  #refusal(response, body) {
    const error = body?.error?.code ? body.error : { code: "unexpected", message: this.unexpected };
    return new Refusal(response.status, error, seconds(response.headers.get("Retry-After")));
  }
}

function isEventStream(response) {
  return (response.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
}

function seconds(header) {
  return /^\d+$/.test(header ?? "") ? Number(header) : null;
}
