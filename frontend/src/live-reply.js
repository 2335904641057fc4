/** A reply that this page follows to its ending. What arrives is drawn once per frame; a stop ends it where the user saw it end. */

import { ApiError } from "./api.js";
import { ENDINGS, followEvents } from "./event-stream.js";
import { LiveEvent, State, allows, isLive, next } from "./live-state.js";
import { ReplyPoller } from "./reply-poller.js";

/**
 * @import { Api } from "./api.js"
 * @import { EventName } from "./live-state.js"
 * @import { Reply } from "./reply.js"
 * @import { Translations } from "./translations.js"
 * @import { Ending, Message, ReplyIds, ReplyRequest, StreamEvent } from "./types"
 */

/**
 * What a live reply tells its follower. connectionChanged: text is null when the connection is back. stopFailed: of a stop that
 * was pressed before the server had named the reply; others are thrown by `stop`.
 *
 * @typedef {object} LiveHandlers
 * @property {(live: LiveReply, ids: ReplyIds) => void} started
 * @property {(live: LiveReply, text: string | null) => void} connectionChanged
 * @property {() => void} drawn
 * @property {(live: LiveReply, ending: Ending) => void} ended
 * @property {(error: unknown) => void} stopFailed
 */

export class LiveReply {
  #api;
  #translations;
  #silence;
  #on;
  #abort = new AbortController();
  // Whether the next frame will draw what has arrived.
  #hasFrame = false;
  /** @type {ReplyPoller | null} */
  #poller = null;

  /**
   * @param {object} options
   * @param {Api} options.api
   * @param {Reply} options.reply Its view.
   * @param {ReplyRequest | null} options.request Null when the reply exists already.
   * @param {string} options.conversation Its conversation, "" for a new one that the server has not named yet.
   * @param {Translations} options.translations
   * @param {number} options.silence Seconds without a byte after which a connection counts as dead.
   * @param {LiveHandlers} options.on
   */
  constructor({ api, reply, request, conversation, translations, silence, on }) {
    this.#api = api;
    this.#translations = translations;
    this.#silence = silence;
    this.#on = on;
    this.reply = reply;
    this.request = request;
    /** @type {import("./live-state.js").StateName} */
    this.state = request ? State.SENDING : State.STREAMING;
    this.conversation = conversation;
    /** @type {any} The error that ended following, in the states REFUSED and BROKEN. */
    this.error = null;
  }

  get isStopping() {
    return this.state === State.STOP_REQUESTED || this.state === State.STOPPING;
  }

  /** Follow the reply until its ending, an error, or until it was left; `state` says which. */
  async run() {
    try {
      await this.#read();
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      this.error = error;
      this.#move(LiveEvent.FAILED);
    } finally {
      this.#poller?.stop();
    }
  }

  /** Stop following; the reply continues on the server. */
  leave() {
    this.#move(LiveEvent.LEAVE);
    this.#abort.abort();
  }

  /** Stop the reply where the user sees it end. Throws the error of the request, after which the reply goes on. */
  async stop() {
    if (!allows(this.state, LiveEvent.STOP)) return;
    this.#move(LiveEvent.STOP);
    if (this.state === State.STOPPING) await this.#askToStop();
  }

  /** @param {EventName} event */
  #move(event) {
    this.state = next(this.state, event);
    if (this.state === State.CANCELLED) this.#abort.abort();
  }

  async #read() {
    const { reply, request } = this;
    const { signal } = this.#abort;
    const send = request && ((/** @type {AbortSignal} */ attempt) => this.#send(request, attempt));
    const resume = (/** @type {string} */ lastId, /** @type {AbortSignal} */ attempt) => this.#resume(lastId, attempt);
    const connectionChanged = (/** @type {any} */ error) => this.#connectionChanged(error);
    const options = { send, resume, lastId: reply.lastId, signal, connectionChanged, silence: this.#silence };
    for await (const event of followEvents(options)) this.#receive(event);
    // A stream that has no more events and told no ending: the message has it.
    if (this.state !== State.ENDED) this.#end(await this.#api.get(`api/messages/${reply.id}`));
  }

  /**
   * @param {ReplyRequest} request
   * @param {AbortSignal} signal
   */
  #send({ path, body }, signal) {
    this.#watchSilence();
    return this.#api.stream("POST", path, { body, signal });
  }

  /**
   * @param {string} lastId
   * @param {AbortSignal} signal
   */
  #resume(lastId, signal) {
    this.#watchSilence();
    return this.#api.stream("GET", `api/messages/${this.reply.id}/events`, { lastId, signal });
  }

  /** @param {StreamEvent} event */
  #receive(event) {
    if (this.state === State.ENDED) return;
    this.#poller?.stop();
    if (event.event === "start") this.#started(event.data);
    this.reply.receive(event);
    if (ENDINGS.has(event.event)) this.#endByStream(event.data);
    else this.#draw();
  }

  /** @param {ReplyIds} ids */
  #started(ids) {
    const isFirst = this.state !== State.STREAMING && this.state !== State.STOPPING;
    this.#move(LiveEvent.STARTED);
    this.reply.id = ids.message;
    this.reply.model = ids.model;
    this.conversation = ids.conversation;
    if (!isFirst) return;
    this.#on.started(this, ids);
    if (this.isStopping) this.#askToStop().catch((error) => this.#on.stopFailed(error));
  }

  #draw() {
    if (this.#hasFrame) return;
    this.#hasFrame = true;
    requestAnimationFrame(() => {
      this.#hasFrame = false;
      if (this.state !== State.STREAMING) return;
      this.reply.draw();
      this.#on.drawn();
    });
  }

  /**
   * The stream told the ending. A text of another length than it says is not what was saved: then the message is fetched.
   *
   * @param {Ending & {length: number}} ending
   */
  #endByStream(ending) {
    const { reply } = this;
    this.#move(LiveEvent.ENDED);
    if (reply.received.textLength === ending.length) reply.end(ending);
    else this.#api.get(`api/messages/${reply.id}`).then((message) => reply.show(message), () => reply.end(ending));
    this.#on.ended(this, ending);
  }

  /** @param {Message} message As the API has it, with its ending. */
  #end(message) {
    if (!allows(this.state, LiveEvent.ENDED)) return;
    this.#move(LiveEvent.ENDED);
    this.reply.show(message);
    this.#on.ended(this, message);
  }

  /** @param {any} error Null when the connection is back. */
  #connectionChanged(error) {
    const hasReason = error instanceof ApiError && error.code !== "unexpected";
    this.#on.connectionChanged(this, error && (hasReason ? error.message : this.#translations.say("reconnecting")));
    this.#move(error ? LiveEvent.CONNECTION_LOST : LiveEvent.CONNECTED);
  }

  async #askToStop() {
    const { reply } = this;
    reply.drawComplete();
    try {
      const message = await this.#api.json("POST", `api/messages/${reply.id}/stop`, { position: reply.shownId });
      if (isLive(message.status)) return;
      this.#end(message);
      this.leave();
    } catch (error) {
      this.#move(LiveEvent.STOP_FAILED);
      throw error;
    }
  }

  // While the stream is silent

  /** Poll for the reply unless an event arrives. A poller without an event yet works on over several attempts. */
  #watchSilence() {
    if (this.#poller?.isRunning) return;
    const fetch = (/** @type {AbortSignal} */ signal) => this.#fetch(signal);
    const show = (/** @type {Message} */ message) => this.#showPolled(message);
    this.#poller = new ReplyPoller({ fetch, show, signal: this.#abort.signal });
  }

  /**
   * Return the message; before the server has named it, by the client_id of its request. Throws ApiError while there is none.
   *
   * @param {AbortSignal} signal
   */
  #fetch(signal) {
    const { reply, request } = this;
    if (reply.id || !request) return this.#api.get(`api/messages/${reply.id}`, { signal });
    const query = new URLSearchParams({ client_id: request.body.client_id });
    if (request.conversation) query.set("conversation", request.conversation);
    return this.#api.get(`api/messages?${query}`, { signal });
  }

  /**
   * Show what polling has found. Returns whether that was all.
   *
   * @param {Message} message
   */
  #showPolled(message) {
    // What the user saw at the stop is what is saved.
    if (this.state === State.ENDED || this.state === State.STOPPING) return this.state === State.ENDED;
    const { id, parent, conversation, model } = message;
    this.#started({ message: id, user_message: parent, conversation, model });
    if (isLive(message.status)) {
      if (this.state === State.STREAMING) this.reply.preview(message);
      this.#on.drawn();
      return false;
    }
    this.#end(message);
    this.leave();
    return true;
  }
}
