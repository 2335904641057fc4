/** One reply that this page follows to its ending: what comes is drawn once a frame, and it can be stopped where it is seen. */

import { Refusal } from "./api.js";
import { ENDINGS, follow } from "./following.js";
import { Peeking } from "./peeking.js";

/**
 * reply: its view. call: {path, body, conversation} of the request that makes it, null when it exists already.
 * on: told of what happens, {started(live, ids), trouble(live, words), drawn(live), ended(live, outcome), failed(live, error)}; ids
 * are the `start` event's, outcome is {status, end_reason, error}, failed is for a stop that was refused.
 */
export class Live {
  constructor({ api, reply, call = null, words, silence, on }) {
    Object.assign(this, { api, reply, call, words, silence, on });
    this.abort = new AbortController();
    this.isStarted = !call;
    this.isStopping = false;
    this.isWaiting = false;
    this.isEnded = false;
    this.frame = null;
  }

  /** Follow it. Returns when it has ended or was left; throws what broke it, a Refusal before it has begun. */
  async run() {
    try {
      await this.#read();
    } catch (error) {
      if (!this.abort.signal.aborted) throw error;
    } finally {
      this.peeking?.heard();
    }
  }

  /** Leave it: it goes on without this page. */
  leave() {
    this.abort.abort();
  }

  /** End it where the reader sees it end. A promise; throws what the server answered, after which it goes on. */
  async stop() {
    if (this.isStopping) return;
    this.isStopping = true;
    if (this.isStarted) await this.#askToStop();
    else if (this.isWaiting) this.leave();
  }

  async #read() {
    const { api, call, reply, silence } = this;
    const watched = (ask) => (...args) => {
      this.#peek();
      return ask(...args);
    };
    const send = call && watched((signal) => api.stream("POST", call.path, { body: call.body, signal }));
    const resume = watched((lastId, signal) => api.stream("GET", `api/messages/${reply.id}/events`, { lastId, signal }));
    const { signal } = this.abort;
    const trouble = (error) => this.#trouble(error);
    for await (const event of follow({ send, resume, lastId: reply.lastId, signal, trouble, silence })) {
      this.#take(event);
    }
    // There was nothing more to come, and no ending: it is in the message.
    if (!this.isEnded) this.#end(await api.get(`api/messages/${reply.id}`));
  }

  #take(event) {
    this.peeking.heard();
    if (event.event === "start") this.#started(event.data);
    this.reply.receive(event);
    if (ENDINGS.has(event.event)) this.#finish(event.data);
    else this.#draw();
  }

  #started(ids) {
    this.reply.id = ids.message;
    const isNew = !this.isStarted;
    this.isStarted = true;
    if (isNew) this.on.started(this, ids);
    if (isNew && this.isStopping) this.#askToStop().catch((error) => this.on.failed(this, error));
  }

  #draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.isEnded) return;
      this.reply.draw();
      this.on.drawn(this);
    });
  }

  /** The stream told the ending. A text of another length than it says is not what was saved: ask for that. */
  #finish(data) {
    this.isEnded = true;
    if (codePoints(this.reply.received.text) === data.length) this.reply.end(data);
    else this.api.get(`api/messages/${this.reply.id}`).then((message) => this.reply.show(message), () => this.reply.end(data));
    this.on.ended(this, data);
  }

  #end(message) {
    if (this.isEnded) return;
    this.isEnded = true;
    this.reply.show(message);
    this.on.ended(this, message);
  }

  #trouble(error) {
    this.isWaiting = Boolean(error);
    const isRefused = error instanceof Refusal && error.code !== "unexpected";
    this.on.trouble(this, error && (isRefused ? error.message : this.words.say("reconnecting")));
    // Whoever has stopped a message that did not get through wants no other try.
    if (error && this.isStopping && !this.isStarted) this.leave();
  }

  async #askToStop() {
    const { reply } = this;
    reply.freeze();
    try {
      const message = await this.api.json("POST", `api/messages/${reply.id}/stop`, { position: reply.shownId });
      if (message.status === "streaming") return;
      this.#end(message);
      this.leave();
    } catch (error) {
      reply.frozen = false;
      this.isStopping = false;
      throw error;
    }
  }

  // Where nothing comes

  /** Watch for the first event of this try. One that nothing has come to yet goes on over several: a buffer cuts, too. */
  #peek() {
    if (this.peeking && !this.peeking.isOver) return;
    const { signal } = this.abort;
    this.peeking = new Peeking({ ask: (each) => this.#ask(each), shown: (message) => this.#peeked(message), signal });
  }

  #ask(signal) {
    const { api, reply, call } = this;
    if (reply.id) return api.get(`api/messages/${reply.id}`, { signal });
    const query = new URLSearchParams({ client_id: call.body.client_id });
    if (call.conversation) query.set("conversation", call.conversation);
    return api.get(`api/messages?${query}`, { signal });
  }

  #peeked(message) {
    if (this.isEnded || this.reply.frozen) return this.isEnded;
    const { id, parent, conversation, model } = message;
    this.#started({ message: id, user_message: parent, conversation, model });
    if (message.status === "streaming") {
      this.reply.peek(message);
      this.on.drawn(this);
      return false;
    }
    this.#end(message);
    this.leave();
    return true;
  }
}

/** Return the number of code points, as the server counts. */
function codePoints(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
