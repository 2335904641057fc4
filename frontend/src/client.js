/** The app's API for front ends of your own, with the connection code of the chat itself. docs/client.md describes it. */

import { Api } from "./api.js";
import { newClientId } from "./client-id.js";
import { ReplyStream } from "./reply-stream.js";

export { ApiError, NetworkError } from "./api.js";

/** @import * as Declared from "../declarations/client" */

// Two missed heartbeats of a site with the default settings, and 5 s for the network.
const SILENCE_SECONDS = 35;

/** @implements {Declared.ChatClient} */
export class ChatClient {
  #api;
  #silence;

  /**
   * @param {string | URL} root
   * @param {Declared.ClientOptions} [options]
   */
  constructor(root, { headers, credentials = headers ? "omit" : "include", csrfHeader = "X-CSRFToken", silence = SILENCE_SECONDS } = {}) {
    const hasCookies = credentials !== "omit";
    this.#silence = silence;
    this.#api = new Api({
      root: String(root).replace(/\/*$/, "/"),
      csrfToken: hasCookies ? null : "",
      csrfHeader,
      isStranger: hasCookies,
      unexpected: "The answer did not come from the chat's API.",
      credentials,
      moreHeaders: async () => (typeof headers === "function" ? headers() : (headers ?? {})),
    });
  }

  /**
   * @param {string} content
   * @param {Declared.SendOptions} [options]
   */
  send(content, { conversation, ...options } = {}) {
    return this.#post(conversation ? `api/conversations/${conversation}/messages` : "api/messages", { content, ...options });
  }

  /**
   * @param {string} message
   * @param {Declared.RegenerateOptions} [options]
   */
  regenerate(message, options) {
    return this.#post(`api/messages/${message}/regenerate`, options);
  }

  /**
   * @param {string} message
   * @param {Declared.ContinueOptions} [options]
   */
  continue(message, options) {
    return this.#post(`api/messages/${message}/continue`, options);
  }

  /**
   * @param {string} message
   * @param {Declared.FollowOptions} [options]
   */
  follow(message, options) {
    return this.resume(`${message}/0`, options);
  }

  /**
   * @param {string} position
   * @param {Declared.FollowOptions} [options]
   */
  resume(position, options) {
    return new ReplyStream({ ...options, api: this.#api, request: null, position, silence: this.#silence });
  }

  /** @param {string} message */
  stop(message) {
    return this.#api.json("POST", `api/messages/${message}/stop`, {});
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {{signal?: AbortSignal}} [options]
   */
  request(method, path, body, options) {
    return this.#api.json(method, path, body, options);
  }

  /**
   * @param {string} path
   * @param {Declared.SendOptions & {content?: string}} [options] How it is followed, and the fields of the body.
   */
  #post(path, { signal, onConnectionChange, retries, ...fields } = {}) {
    const request = { path, body: { client_id: newClientId(), ...fields } };
    return new ReplyStream({ api: this.#api, request, signal, onConnectionChange, retries, silence: this.#silence });
  }
}
