/** One chat: wires the parts of its element to each other and to the API. */

import { Api, Refusal, Unreachable } from "./api.js";
import { Claim } from "./claim.js";
import { Composer } from "./composer.js";
import { Conversations } from "./conversations.js";
import { Corner } from "./corner.js";
import { handOver, newId } from "./drafts.js";
import { Housekeeping } from "./housekeeping.js";
import { Live } from "./live.js";
import { Menu } from "./menu.js";
import { beside } from "./modules.js";
import { Notices } from "./notices.js";
import { parts, templates } from "./parts.js";
import { Path } from "./path.js";
import { Place } from "./place.js";
import { loadRenderer } from "./prose.js";
import { Reply } from "./reply.js";
import { Scroll } from "./scroll.js";
import { UserMessage } from "./user-message.js";
import { Words } from "./words.js";

export class Chat {
  constructor(element) {
    this.element = element;
    // Put back into the page, it has the messages of before, whose parts would be taken for its own.
    element.querySelector("[data-part=messages]").replaceChildren();
    this.closing = new AbortController();
    const { signal } = this.closing;
    const at = parts(element);
    const words = new Words(JSON.parse(element.dataset.words), lang(element));
    const root = element.getAttribute("root");
    const scope = `${root}:${element.getAttribute("name")}:${element.dataset.owner}`;
    const guard = (promise) => this.#guard(promise);
    const left = () => this.composer.focus();
    Object.assign(this, { at, words, guard, scope, live: null, loading: 0, isLoading: false, isBehind: false });
    this.templates = templates(element);
    this.modules = { markdown: beside(element.dataset.markdown), highlighter: beside(element.dataset.highlighter) };
    this.silence = Number(element.dataset.silence);
    const csrfToken = at.composer.elements.csrfmiddlewaretoken.value;
    const { csrfHeader } = element.dataset;
    const isStranger = "stranger" in element.dataset;
    this.api = new Api({ root, csrfToken, csrfHeader, isStranger, unexpected: words.say("unexpected") });
    this.place = new Place({ element, root, scope, signal, moved: (id) => guard(this.show(id)) });
    this.isVisitor = element.dataset.owner === "visitor";
    this.notices = new Notices({ at, words, isVisitor: this.isVisitor, signal, left });
    this.scroll = new Scroll(at.scroll, at.latest, signal);
    this.path = new Path({ at, make: (message) => this.#view(message), signal });
    const on = { sent: () => this.send(), stopped: () => this.stop(), up: () => this.#editLast() };
    this.composer = new Composer({ at, on, root, scope, signal });
    const opened = (id) => guard(this.#visit(id));
    const common = { api: this.api, at, templates: this.templates, words, guard, signal };
    this.conversations = new Conversations({ ...common, current: this.place.conversation, opened });
    this.menu = new Menu({ at, signal });
    const done = {
      renamed: (conversation) => this.#renamed(conversation),
      removed: (id) => this.#removed(id),
      restored: (id) => this.#restored(id),
    };
    const inView = () => this.conversation;
    this.housekeeping = new Housekeeping({ ...common, notices: this.notices, conversation: inView, on: done });
    this.claim = new Claim({ ...common, left, kept: () => this.#kept() });
    this.others = new BroadcastChannel(`streaming_chat:${root}:${element.dataset.owner}`);
  }

  get conversation() {
    return this.place.conversation;
  }

  // Opening

  /** Begin; in a corner, when it is opened. */
  open() {
    if (this.element.getAttribute("layout") !== "corner") return this.#begin();
    const { at, scope } = this;
    this.corner = new Corner({ at, key: scope, opened: () => this.#begin(), signal: this.closing.signal });
  }

  /** End everything that this page does; replies go on. */
  close() {
    // What is being loaded comes too late.
    this.loading += 1;
    this.live?.leave();
    this.closing.abort();
    this.others.close();
    this.scroll.close();
    this.notices.close();
  }

  #begin() {
    this.#listen();
    // What was shown before, when the element is put back into a page.
    this.path.show([]);
    this.place.fit();
    this.composer.open(this.conversation);
    if (this.place.isPage) this.#arrive();
    if (this.conversation) loadRenderer(this.modules.markdown).catch(() => {});
    this.guard(this.reload());
    this.guard(this.#list());
    this.guard(this.#models());
    if ("claim" in this.element.dataset) this.guard(this.claim.offer());
  }

  /** Go to another conversation, "" for a new chat. */
  async #visit(id) {
    this.place.go(id);
    this.menu.toggle(false);
    await this.show(id);
    this.#arrive();
  }

  /** Put the keyboard where one would go on. On a phone, a field would bring up its keys over what there is to read. */
  #arrive() {
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
    else this.at.scroll.focus({ preventScroll: true });
  }

  /** Show the conversation of the place where we are now. */
  async show(id) {
    this.live?.leave();
    this.live = null;
    this.composer.open(id);
    this.conversations.select(id);
    this.notices.fail(null);
    this.composer.say("");
    this.path.show([]);
    if (!id) this.#title(null);
    this.#settle();
    await this.reload();
  }

  /** Show the conversation as the server has it, and follow its reply when one is being written. */
  async reload() {
    const id = this.conversation;
    this.loading += 1;
    const { loading } = this;
    const isFirst = !this.path.views.length;
    // Meanwhile nothing is sent: what comes would take it off the page.
    this.isLoading = Boolean(id);
    if (!id) return this.#settle();
    const found = await this.api
      .get(`api/conversations/${id}`)
      .catch((error) => this.#gone(error))
      .finally(() => (this.isLoading &&= loading !== this.loading));
    if (!found || loading !== this.loading) return;
    this.live?.leave();
    this.live = null;
    this.isBehind = false;
    const { following } = this.scroll;
    this.#keeping(() => this.#fill(found));
    if (following || isFirst) this.scroll.jump();
    const last = found.messages.at(-1);
    if (last?.status === "streaming") this.#follow(this.path.last);
  }

  #fill({ messages, model, ...conversation }) {
    this.#title(conversation);
    this.composer.suggest(model);
    this.path.show(messages);
    this.#settle();
  }

  /** The conversation is not there any more: begin a new one, with what is written. */
  async #gone(error) {
    if (error.status !== 404) throw error;
    const { text } = this.composer;
    // One that was only remembered nobody is looking at.
    const wasInView = this.path.views.length > 0;
    this.place.go("");
    await this.show("");
    if (!this.composer.text) this.composer.write(text);
    if (wasInView) this.notices.say(this.words.say("gone"));
    this.guard(this.#list());
  }

  #view(message) {
    if (message.role === "user") return this.#userView(message);
    const reply = this.#replyView();
    if (message.status === "streaming") reply.resume(message);
    else reply.show(message);
    return reply;
  }

  #userView(message) {
    const on = {
      edited: (view, text) => this.guard(this.edit(view, text)),
      stepped: (view, direction) => this.guard(this.step(view, direction)),
    };
    return new UserMessage({ templates: this.templates, words: this.words, on }, message);
  }

  #replyView() {
    const on = {
      again: (view) => this.regenerate(view),
      stepped: (view, direction) => this.guard(this.step(view, direction)),
      judged: (view, value, comment) => this.judge(view, value, comment),
      asked: (view) => this.guard(this.api.get(`api/messages/${view.id}`)),
    };
    return new Reply({ templates: this.templates, words: this.words, modules: this.modules, on });
  }

  #title(conversation) {
    const name = conversation ? conversation.title || this.words.say("untitled") : this.words.say("new_chat");
    this.at.title.textContent = name;
    this.at.tools.hidden = !conversation;
    this.place.name(name);
  }

  /** What was written before signing in is the user's now: show the newest of it, unless they have gone on. */
  async #kept() {
    const [newest] = await this.#list();
    if (newest && !this.conversation && !this.composer.text) await this.#visit(newest.id);
  }

  async #list() {
    const results = await this.conversations.refresh();
    const current = results.find(({ id }) => id === this.conversation);
    if (current) this.#title(current);
    return results;
  }

  async #models() {
    const { results } = await this.api.get("api/models");
    this.composer.offer(results);
  }

  // Sending

  /** Send what the composer holds. */
  async send() {
    const text = this.composer.text;
    if (this.live || this.isLoading || !text.trim()) return;
    // What is in view, where another tab may have gone elsewhere.
    const last = this.path.last instanceof Reply ? this.path.last.id : null;
    const { clientId, model, parent } = this.composer.take(last);
    const body = { content: text, client_id: clientId, ...(model && { model }), ...(parent && { parent }) };
    const takeBack = ([user], isNew) => {
      this.path.cutAt(user);
      this.composer.giveBack(text, { isNew });
      return () => this.send();
    };
    await this.#say(body, { last, parent, siblings: { index: 1, count: 1 } }, takeBack);
  }

  /** Send a message once more, with another text, beside the first. */
  async edit(view, text) {
    if (this.live || this.isLoading) return;
    const { id, parent, pager } = view;
    const count = pager.count + 1;
    this.#keeping(() => this.path.cutAt(view));
    const model = this.composer.model;
    const body = { content: text, client_id: newId(), parent, ...(model && { model }) };
    const takeBack = () => {
      this.guard(this.#reopen(id, text));
      return null;
    };
    await this.#say(body, { last: parent, parent, siblings: { index: count, count } }, takeBack);
  }

  /** Show again what an edit has taken off the page, with the form and the text that was refused. */
  async #reopen(id, text) {
    await this.reload();
    const view = this.path.findLast((each) => each.id === id);
    if (view) view.edit(text);
    else this.composer.giveBack(text, { isNew: true });
  }

  /**
   * Send, and follow the reply. last: after which it is on the page, parent: after which it is sent.
   * takeBack([user, reply], isNew): undoes on the page what was refused, and keeps its text; returns what may be tried again.
   */
  async #say(body, { last, parent, siblings }, takeBack) {
    this.notices.fail(null);
    this.notices.forget();
    loadRenderer(this.modules.markdown).catch(() => {});
    const user = this.path.add(this.#userView({ text: body.content }));
    const reply = this.path.add(this.#replyView());
    this.composer.focus();
    this.scroll.jump();
    const conversation = this.conversation;
    const path = conversation ? `api/conversations/${conversation}/messages` : "api/messages";
    const refused = (error) => takeBack([user, reply], isUnmade(error));
    const accepted = (ids) => {
      // Sent before a reload, it may be on the page already, or belong elsewhere.
      const isShown = this.path.views.some(({ id }) => id === ids.user_message);
      user.sent(ids.user_message, parent, siblings);
      if (isShown || parent !== last) this.guard(this.reload());
    };
    await this.#follow(reply, { path, body, conversation, accepted, refused });
  }

  /** Ask for another reply to the same message. */
  async regenerate(reply) {
    if (this.live || this.isLoading) return;
    const after = this.path.views[this.path.views.indexOf(reply) + 1];
    const count = (reply.siblings?.count ?? 1) + 1;
    const path = `api/messages/${reply.id}/regenerate`;
    this.#keeping(() => {
      if (after) this.path.cutAt(after);
      reply.begin({ index: count, count });
    });
    reply.id = null;
    reply.judgement.show(null);
    reply.facts.show(null);
    this.notices.fail(null);
    const model = this.composer.model;
    const body = { client_id: newId(), ...(model && { model }) };
    const refused = () => {
      this.guard(this.reload());
      return null;
    };
    await this.#follow(reply, { path, body, conversation: this.conversation, accepted: () => {}, refused });
  }

  /** Show the next or previous message beside this one, with what followed it. */
  async step(view, direction) {
    if (this.live || this.isLoading) return;
    const { conversation, loading } = this;
    const { results } = await this.api.get(`api/conversations/${conversation}/messages`);
    // Whoever went elsewhere or sent something meanwhile has decided otherwise.
    if (loading !== this.loading || this.live) return;
    const { parent, role } = results.find(({ id }) => id === view.id);
    const siblings = results.filter((message) => message.parent === parent && message.role === role);
    const chosen = siblings[siblings.findIndex(({ id }) => id === view.id) + direction];
    let leaf = chosen;
    for (let next = leaf; next; next = results.findLast((message) => message.parent === leaf.id)) leaf = next;
    await this.api.json("PATCH", `api/conversations/${conversation}`, { head: leaf.id });
    if (loading !== this.loading || this.live) return;
    this.others.postMessage({ conversation });
    await this.reload();
    const shown = this.path.findLast(({ id }) => id === chosen.id);
    shown?.element.scrollIntoView({ block: "nearest" });
    shown?.pager.focus(direction);
  }

  /** Save what the reader thinks of a reply; null takes it back. Returns whether it was saved. */
  async judge({ id }, value, comment) {
    const path = `api/messages/${id}/feedback`;
    try {
      await (value === null ? this.api.json("DELETE", path) : this.api.json("PUT", path, { value, comment }));
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  // Following

  /** Follow a reply to its ending. call: what makes it, see Live; with accepted(ids), and refused(error), which returns what may be tried again. */
  async #follow(reply, call = null) {
    const on = {
      started: (live, ids) => this.#started(live, ids),
      trouble: (live, words) => this.live === live && this.composer.say(words ?? this.words.say("writing")),
      drawn: () => this.scroll.grown(),
      ended: (live, outcome) => this.#ended(live, outcome),
      failed: (_live, error) => this.#fail(error),
    };
    const live = new Live({ api: this.api, reply, call, words: this.words, silence: this.silence, on });
    this.live = live;
    this.#settle();
    this.composer.say(this.words.say("writing"));
    try {
      await live.run();
      if (!live.isStarted && this.live === live) call.refused();
    } catch (error) {
      await this.#broke(live, error);
    } finally {
      if (this.live === live) this.live = null;
      this.#settle();
    }
  }

  #started(live, ids) {
    const { conversation, message, user_message: userMessage, model } = ids;
    live.call.accepted(ids);
    this.composer.answered();
    if (!live.call.conversation) this.#adopt(conversation);
    this.guard(this.#list());
    this.others.postMessage({ conversation });
    this.#announce("started", { conversation, message, userMessage, model });
  }

  /** The new chat has become a conversation. */
  #adopt(conversation) {
    this.place.go(conversation);
    this.composer.adopt(conversation);
    this.conversations.select(conversation);
  }

  #ended(live, { status, end_reason: endReason, error }) {
    this.scroll.grown();
    const said = { completed: "finished", stopped: "stopped", failed: "failed" }[status] ?? "broken";
    if (this.live === live) this.composer.say(this.words.say(said));
    this.guard(this.#list());
    this.#announce("ended", { conversation: this.conversation, message: live.reply.id, status, endReason, error: error ?? null });
  }

  async #broke(live, error) {
    if (this.live !== live) return;
    this.composer.say("");
    if (live.isStarted) {
      this.isBehind = true;
      live.reply.end({ status: "interrupted", error: { message: this.notices.text(error) } });
      return this.#fail(error);
    }
    this.live = null;
    const again = live.call.refused(error);
    if (error.status === 404 && this.conversation) return this.#gone(error);
    const isBusy = error.code === "reply_in_progress";
    if (isBusy && again) await this.#guard(this.reload());
    this.#fail(error, isBusy || error.isFinal ? null : again);
  }

  /** End the reply where the reader sees it end. */
  async stop() {
    const { live } = this;
    if (!live || live.isStopping) return;
    const stopping = live.stop();
    this.composer.focus();
    this.#settle();
    await this.#guard(stopping);
    this.#settle();
  }

  // The rest of the page

  #listen() {
    const { signal } = this.closing;
    const { at } = this;
    const press = (element, act) => element.addEventListener("click", act, { signal });
    press(at.new, (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.guard(this.#visit(""));
    });
    press(at.login, () => this.#signIn());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#escape(event), { signal });
    document.addEventListener("visibilitychange", () => this.guard(this.#lookAgain()), { signal });
    this.others.addEventListener("message", ({ data }) => this.#elsewhere(data));
  }

  /** Escape does the nearest thing: closes the list, stops the reply, closes the corner. */
  #escape(event) {
    if (event.defaultPrevented || event.isComposing) return;
    // A corner that is open since the last page has not got the keyboard; then it closes nothing.
    const isHere = this.place.owns(event.target);
    if (!isHere && !(this.corner?.isOpen && event.target === document.body)) return;
    // There it empties the field.
    if (event.target === this.at.search && this.at.search.value) return;
    if (this.element.querySelector("dialog[open]")) return;
    if (this.menu.isOpen) this.menu.toggle(false, { focus: true });
    else if (this.live) this.stop();
    else if (isHere && this.corner?.isOpen) this.corner.toggle(false);
  }

  #editLast() {
    if (!this.live) this.path.findLast((view) => view instanceof UserMessage && view.id)?.edit();
  }

  /** Another tab has sent something. */
  #elsewhere({ conversation }) {
    this.guard(this.#list());
    if (conversation !== this.conversation || this.live) return;
    if (this.#isWriting()) this.isBehind = true;
    else this.guard(this.reload());
  }

  /** The page is in front again: another device may have gone on with the conversation, or a reply without this page. */
  async #lookAgain() {
    if (document.visibilityState !== "visible" || !this.conversation || this.live || this.#isWriting()) return;
    const { loading } = this;
    // What cannot be asked now is no news.
    const found = await this.api.get(`api/conversations/${this.conversation}`).catch(() => null);
    if (!found || loading !== this.loading || this.live) return;
    if (this.isBehind || found.head !== this.path.last?.id) await this.reload();
  }

  /** Whether something is written into a message in view, which showing them anew would take away. */
  #isWriting() {
    return Boolean(this.at.messages.querySelector(".sc-edit, .sc-comment:not([hidden])"));
  }

  /** What is written, and where, is there after signing in. What a visitor had is not theirs before they say so. */
  #signIn() {
    const { at, composer, place, isVisitor } = this;
    if (isVisitor) handOver(composer.root, composer.text);
    const address = new URL(at.login.href);
    address.searchParams.set("next", isVisitor && place.isPage ? composer.root : location.pathname + location.search);
    at.login.href = address;
  }

  async #renamed(conversation) {
    if (conversation.id === this.conversation) this.#title(conversation);
    await this.#list();
  }

  async #removed(id) {
    this.others.postMessage({ conversation: id });
    if (id === this.conversation) await this.#visit("");
    await this.#list();
  }

  async #restored(id) {
    this.others.postMessage({ conversation: id });
    await this.#visit(id);
    await this.#list();
  }

  /** Show what makes sense now. */
  #settle() {
    this.#keeping(() => {
      const writing = Boolean(this.live);
      this.at.frame.classList.toggle("sc-writing", writing);
      this.at.empty.hidden = this.path.views.length > 0 || Boolean(this.conversation);
      this.composer.settle({ writing, stopping: Boolean(this.live?.isStopping) });
    });
  }

  /** Do something to the page; if the keyboard was where nothing is any more, it is in the composer then. */
  #keeping(act) {
    const held = document.activeElement;
    const isOurs = this.at.frame.contains(held);
    act();
    if (isOurs && (!held.isConnected || held.closest("[hidden]"))) this.composer.focus();
  }

  #fail(error, again = null) {
    this.notices.fail(error, again);
    const isAnswer = error instanceof Refusal;
    const isFault = !isAnswer && !(error instanceof Unreachable);
    const { code, status } = isAnswer ? error : { code: isFault ? "unexpected" : "offline", status: 0 };
    // This program's own: the page's console has it.
    if (isFault) reportError(error);
    this.#announce("error", { code, status, message: this.notices.text(error) });
  }

  /** Show the error of something that is no reply. */
  async #guard(promise) {
    try {
      return await promise;
    } catch (error) {
      if (this.closing.signal.aborted) return undefined;
      this.#fail(error);
      return undefined;
    }
  }

  /** Tell the site, by an event of the element: streaming-chat:started, streaming-chat:ended, streaming-chat:error. */
  #announce(name, detail) {
    this.element.dispatchEvent(new CustomEvent(`streaming-chat:${name}`, { bubbles: true, detail }));
  }
}

/** Whether the server has certainly made nothing of what was sent. */
function isUnmade(error) {
  return error instanceof Refusal && error.code !== "unexpected" && error.status < 500;
}

function lang(element) {
  return element.closest("[lang]")?.lang;
}
