/** One reply as a program reads it: an async iterable of its events, and what has arrived so far. No DOM. */

import { ENDINGS, followEvents } from "./event-stream.js";
import { ReplyContent } from "./reply-content.js";

/**
 * @import { Api } from "./api.js"
 * @import { Message, ReplyEnding, ReplyEvent } from "../declarations/client"
 * @import { StreamEvent } from "./types"
 */

/**
 * @typedef {object} ReplyStreamOptions
 * @property {Api} api
 * @property {{path: string, body: unknown} | null} request What makes the reply, null when it exists already.
 * @property {string} [position] The event after which a reply that exists is followed.
 * @property {AbortSignal} [signal]
 * @property {(error: unknown) => void} [onConnectionChange]
 * @property {number} [retries]
 * @property {number} silence
 */

export class ReplyStream {
  #api;
  #content = new ReplyContent();
  #events;
  /** @type {Promise<IteratorResult<ReplyEvent, void>> | null} */
  #unread;
  #opened;
  #isStopping = false;
  id;
  conversation = "";
  /** @type {string | null} */
  userMessage = null;
  model = "";
  position;
  /** @type {ReplyEnding | null} */
  ending = null;

  /** @param {ReplyStreamOptions} options */
  constructor(options) {
    const { api, position = "" } = options;
    this.#api = api;
    this.position = position;
    this.id = position.split("/")[0];
    this.#events = this.#read(options);
    // The request is made at once, whether its events are read or not; its error is thrown to the reader.
    this.#opened = this.#unread = this.#events.next();
    this.#opened.catch(() => {});
  }

  get text() {
    return this.#content.text;
  }

  get reasoning() {
    return this.#content.reasoning;
  }

  get toolCalls() {
    return this.#content.tools;
  }

  get sources() {
    return this.#content.sources;
  }

  /** @returns {AsyncIterator<ReplyEvent, void>} */
  [Symbol.asyncIterator]() {
    const next = () => {
      const first = this.#unread;
      this.#unread = null;
      return first ?? this.#events.next();
    };
    return { next, return: () => this.#events.return() };
  }

  /** @param {(event: ReplyEvent) => void} [onEvent] */
  async read(onEvent = () => {}) {
    for await (const event of this) onEvent(event);
    return /** @type {ReplyEnding} */ (this.ending);
  }

  async stop() {
    if (!this.id) await this.#opened;
    this.#isStopping = true;
    // The start has no text, and is not undone.
    const position = this.position.replace(/\/0$/, "/1");
    try {
      return await this.#api.json("POST", `api/messages/${this.id}/stop`, { position });
    } catch (error) {
      this.#isStopping = false;
      throw error;
    }
  }

  /**
   * Yield the events. While the reply is being stopped, they are held back: the stop ends it before them, unless it comes too late.
   *
   * @param {ReplyStreamOptions} options
   * @returns {AsyncGenerator<ReplyEvent, void, void>}
   */
  async *#read(options) {
    /** @type {StreamEvent[]} */
    let held = [];
    for await (const event of this.#follow(options)) {
      held.push(event);
      if (this.#isStopping && !ENDINGS.has(event.event)) continue;
      if (this.#hasStoppedHere(event)) held = [event];
      for (const each of held) yield this.#receive(each);
      held = [];
    }
    if (!this.ending) yield this.#receive(endingEvent(await this.#api.get(`api/messages/${this.id}`)));
  }

  /** @param {ReplyStreamOptions} options */
  #follow({ api, request, position = "", signal = new AbortController().signal, onConnectionChange = () => {}, retries = 10, silence }) {
    const send = request && ((/** @type {AbortSignal} */ attempt) => api.stream("POST", request.path, { body: request.body, signal: attempt }));
    // The header Last-Event-ID would have to be allowed for other origins.
    const resume = (/** @type {string} */ lastId, /** @type {AbortSignal} */ attempt) =>
      api.stream("GET", `api/messages/${lastId.split("/")[0]}/events?after=${lastId}`, { signal: attempt });
    return followEvents({ send, resume, lastId: position, signal, connectionChanged: onConnectionChange, retries, silence });
  }

  /** @param {StreamEvent} event */
  #hasStoppedHere({ event, data }) {
    return this.#isStopping && event === "stopped" && data.length === this.#content.textLength;
  }

  /**
   * @param {StreamEvent} event
   * @returns {ReplyEvent}
   */
  #receive(event) {
    const { data } = event;
    this.#content.add(event);
    this.position = event.id || this.position;
    if (event.event === "start") {
      this.id = data.message;
      this.conversation = data.conversation;
      this.userMessage = data.user_message;
      this.model = data.model;
    }
    if (!ENDINGS.has(event.event)) return { type: event.event === "message" ? "text" : event.event, ...data };
    this.ending = data;
    return { type: "end", ...data };
  }
}

/**
 * Return the ending event of an ended message. Its stream would name it by the status, which no reader of this module sees.
 *
 * @param {Message} message
 * @returns {StreamEvent}
 */
function endingEvent({ id, text, status, end_reason, can_continue, error, usage, model }) {
  const data = { text: "", status, end_reason, can_continue, error, usage, length: Array.from(text).length, model };
  return { event: "done", data, id: `${id}/end` };
}
