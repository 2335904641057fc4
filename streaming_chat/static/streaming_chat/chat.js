/** The chat page: wires the elements of chat.html to the API. */

import { Api, Refusal } from "./api.js";
import { Conversations } from "./conversations.js";
import { Drafts, newId } from "./drafts.js";
import { Reply, UserMessage } from "./messages.js";
import { ENDINGS, follow } from "./reply.js";
import { Follower } from "./scroll.js";

class Chat {
  constructor(root, texts) {
    this.root = root;
    this.texts = texts;
    this.at = Object.fromEntries([...root.querySelectorAll("[id]")].map((element) => [element.id.slice(3), element]));
    this.conversation = root.dataset.conversation;
    this.live = null;
    this.api = new Api({
      root: root.dataset.root,
      csrfToken: this.at.composer.elements.csrfmiddlewaretoken.value,
      unexpected: texts.unexpected,
    });
    this.drafts = new Drafts(this.conversation);
    this.follower = new Follower(this.at.scroll, this.at.latest);
    this.conversations = new Conversations({
      api: this.api,
      list: this.at.conversations,
      more: this.at.more,
      template: this.at["conversation-template"],
      current: this.conversation,
      untitled: texts.untitled,
      guard: (promise) => this.#guard(promise),
    });
    this.others = new BroadcastChannel(`streaming_chat:${root.dataset.root}`);
  }

  // Opening

  async open() {
    this.#listen();
    this.at.send.disabled = false;
    this.#fit();
    this.#restoreDraft();
    await Promise.all([this.#guard(this.reload()), this.#guard(this.#list()), this.#guard(this.#models())]);
  }

  /** Show the conversation as the server has it, and follow its reply when one is being written. */
  async reload() {
    if (!this.conversation) return;
    const conversation = await this.api.get(`api/conversations/${this.conversation}`);
    this.live?.abort.abort();
    this.#title(conversation);
    this.wanted = conversation.model;
    this.#chooseModel();
    this.at.messages.replaceChildren();
    const shown = conversation.messages.map((message) => this.#show(message));
    this.#settle();
    this.follower.jump();
    const last = conversation.messages.at(-1);
    if (last?.status === "streaming") this.#follow(shown.at(-1));
  }

  #show(message) {
    if (message.role === "user") return this.#add(new UserMessage(this.at["user-template"], message));
    const reply = this.#newReply();
    if (message.status !== "streaming") reply.show(message);
    else Object.assign(reply, { id: message.id, counted: message.siblings });
    return reply;
  }

  #newReply() {
    const on = { regenerate: (reply) => this.regenerate(reply), sibling: (reply, step) => this.#guard(this.sibling(reply, step)) };
    return this.#add(new Reply(this.at["reply-template"], this.texts, on));
  }

  #add(view) {
    this.at.empty.hidden = true;
    this.at.messages.append(view.element);
    return view;
  }

  #title({ title }) {
    const shown = title || this.texts.untitled;
    this.at.title.textContent = shown;
    document.title = shown;
    this.at.tools.hidden = false;
  }

  async #list() {
    const results = await this.conversations.refresh();
    const current = results.find(({ id }) => id === this.conversation);
    if (current) this.#title(current);
  }

  async #models() {
    const { results } = await this.api.get("api/models");
    const options = results.filter(({ id }) => !id.endsWith(":*")).map(({ id }) => new Option(id, id));
    this.at.model.replaceChildren(...options);
    this.at.model.parentElement.hidden = options.length < 2;
    this.#chooseModel();
  }

  #chooseModel() {
    const ids = [...this.at.model.options].map((option) => option.value);
    if (ids.includes(this.wanted)) this.at.model.value = this.wanted;
  }

  // Sending

  /** Send what the composer holds. */
  async send() {
    const text = this.at.text.value;
    if (this.live || !text.trim()) return;
    const draft = this.drafts.save(text, this.#model());
    this.#write("");
    this.#fail(null);
    const user = this.#add(new UserMessage(this.at["user-template"], { text }));
    const reply = this.#newReply();
    this.follower.jump();
    const path = this.conversation ? `api/conversations/${this.conversation}/messages` : "api/messages";
    const body = { content: text, client_id: draft.clientId, ...(draft.model && { model: draft.model }) };
    const refused = () => this.#takeBack(text, [user, reply]);
    await this.#follow(reply, { path, body, refused });
  }

  /** Ask for another reply to the same message. */
  async regenerate(reply) {
    if (this.live) return;
    const path = `api/messages/${reply.id}/regenerate`;
    while (reply.element.nextElementSibling) reply.element.nextElementSibling.remove();
    const count = (reply.siblings?.count ?? 1) + 1;
    reply.counted = { index: count, count };
    reply.begin();
    this.#fail(null);
    this.at.text.focus();
    const model = this.#model();
    const body = { client_id: newId(), ...(model && { model }) };
    const refused = () => this.#guard(this.reload());
    await this.#follow(reply, { path, body, refused });
  }

  /** Show the next or previous reply to the same message, with what followed it. */
  async sibling(reply, step) {
    if (this.live) return;
    const { results } = await this.api.get(`api/conversations/${this.conversation}/messages`);
    const parent = results.find(({ id }) => id === reply.id).parent;
    const siblings = results.filter((message) => message.parent === parent && message.role === "assistant");
    let leaf = siblings[siblings.findIndex(({ id }) => id === reply.id) + step];
    for (let next = leaf; next; next = results.findLast((message) => message.parent === leaf.id)) leaf = next;
    await this.api.json("PATCH", `api/conversations/${this.conversation}`, { head: leaf.id });
    await this.reload();
  }

  #model() {
    return this.at.model.options.length > 1 ? this.at.model.value : "";
  }

  /** The server refused a message: nothing is lost, its text is in the composer again. */
  #takeBack(text, views) {
    for (const view of views) view.element.remove();
    this.#write([text, this.at.text.value].filter(Boolean).join("\n\n"));
    this.drafts.save(this.at.text.value, this.#model());
    this.at.empty.hidden = this.at.messages.childElementCount > 0;
    this.at.text.focus();
  }

  // Following

  /** Follow a reply to its ending. call: {path, body, refused} makes it; without, it is there. */
  async #follow(reply, call = null) {
    const abort = new AbortController();
    const live = { reply, call, abort, started: !call, stopping: false, waiting: false, ended: false };
    this.live = live;
    this.#settle();
    this.#say(this.texts.writing);
    try {
      await this.#read(live);
    } catch (error) {
      if (!live.abort.signal.aborted) await this.#broke(live, error);
      else if (!live.started) call.refused();
    } finally {
      if (this.live === live) this.live = null;
      this.#settle();
    }
  }

  async #read(live) {
    const { reply, call, abort } = live;
    const send = call && ((signal) => this.api.stream("POST", call.path, { body: call.body, signal }));
    const resume = (lastId, signal) => this.api.stream("GET", `api/messages/${reply.id}/events`, { lastId, signal });
    const trouble = (error) => this.#trouble(live, error);
    const silence = Number(this.root.dataset.silence);
    for await (const event of follow({ send, resume, signal: abort.signal, trouble, silence })) {
      this.#take(live, event);
    }
    if (!live.ended) this.#end(live, await this.api.get(`api/messages/${reply.id}`));
  }

  #take(live, event) {
    if (event.event === "start") this.#started(live, event.data);
    live.reply.receive(event);
    if (ENDINGS.has(event.event)) this.#guard(this.#finish(live, event.data));
    else this.#draw(live);
  }

  #started(live, { message, conversation }) {
    live.reply.id = message;
    if (live.call && !live.started) this.#accepted(conversation);
    live.started = true;
    if (live.stopping) this.#guard(this.#askToStop(live));
  }

  #accepted(conversation) {
    this.drafts.forget();
    if (!this.conversation) this.#adopt(conversation);
    this.#guard(this.#list());
    this.others.postMessage({ conversation });
  }

  /** The new chat has become a conversation. */
  #adopt(conversation) {
    this.conversation = conversation;
    this.drafts = new Drafts(conversation);
    this.drafts.save(this.at.text.value, this.#model());
    this.conversations.select(conversation);
    history.pushState(null, "", `${this.api.root}c/${conversation}`);
  }

  #draw(live) {
    live.frame ??= requestAnimationFrame(() => {
      live.frame = null;
      if (live.ended) return;
      live.reply.draw();
      this.follower.grown();
    });
  }

  /** The stream told the ending. A text of another length than it says is not what was saved: ask for that. */
  async #finish(live, data) {
    live.ended = true;
    live.reply.end(data, live.reply.counted ?? { index: 1, count: 1 });
    this.#outcome(live, data.status);
    if (length(live.reply.received.text) !== data.length) {
      live.reply.show(await this.api.get(`api/messages/${live.reply.id}`));
    }
  }

  #end(live, message) {
    live.ended = true;
    live.reply.show(message);
    this.#outcome(live, message.status);
  }

  #outcome(live, status) {
    this.follower.grown();
    const said = { completed: this.texts.finished, stopped: this.texts.stopped };
    this.#say(said[status] ?? this.texts.broken);
    this.#guard(this.#list());
  }

  #trouble(live, error) {
    live.waiting = Boolean(error);
    if (this.live !== live) return;
    const refused = error instanceof Refusal && error.code !== "unexpected";
    if (error) this.#say(refused ? error.message : this.texts.reconnecting);
    else this.#say(this.texts.writing);
  }

  async #broke(live, error) {
    this.#say("");
    if (!live.started) live.call.refused();
    else live.reply.end({ status: "interrupted", error: { message: this.#words(error) } });
    const busy = error.code === "reply_in_progress";
    if (busy) await this.#guard(this.reload());
    this.#fail(error, live.started || busy ? null : () => this.#again(live));
  }

  #again(live) {
    return live.call.path.endsWith("/regenerate") ? this.regenerate(live.reply) : this.send();
  }

  // Stopping

  /** End the reply where the reader sees it end. */
  async stop() {
    const { live } = this;
    if (!live || live.stopping) return;
    live.stopping = true;
    this.at.stop.disabled = true;
    this.at.text.focus();
    if (live.started) await this.#guard(this.#askToStop(live));
    else if (live.waiting) live.abort.abort();
  }

  async #askToStop(live) {
    const { reply } = live;
    reply.frozen = true;
    const position = reply.shownId || `${reply.id}/1`;
    try {
      const message = await this.api.json("POST", `api/messages/${reply.id}/stop`, { position });
      if (message.status === "streaming" || live.ended) return;
      this.#end(live, message);
      live.abort.abort();
    } catch (error) {
      reply.frozen = false;
      live.stopping = false;
      throw error;
    } finally {
      this.#settle();
    }
  }

  // The rest of the page

  #listen() {
    const { composer, text, stop, menu, main, rename, remove, "rename-dialog": renaming, "remove-dialog": removing } = this.at;
    composer.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    text.addEventListener("input", () => this.#typed());
    text.addEventListener("keydown", (event) => this.#key(event));
    stop.addEventListener("click", () => this.stop());
    menu.addEventListener("click", () => this.#menu(!this.#menuIsOpen()));
    main.addEventListener("click", ({ target }) => this.#menuIsOpen() && !menu.contains(target) && this.#menu(false));
    rename.addEventListener("click", () => {
      renaming.querySelector("input").value = this.at.title.textContent;
      ask(renaming);
    });
    remove.addEventListener("click", () => ask(removing));
    for (const cancel of this.root.querySelectorAll("dialog [type=button]")) {
      cancel.addEventListener("click", () => cancel.closest("dialog").close("no"));
    }
    renaming.addEventListener("close", () => renaming.returnValue === "yes" && this.#guard(this.#rename(renaming)));
    removing.addEventListener("close", () => removing.returnValue === "yes" && this.#guard(this.#remove()));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#escape(event));
    this.others.addEventListener("message", ({ data }) => this.#elsewhere(data));
    addEventListener("popstate", () => location.reload());
    addEventListener("resize", () => this.#fit());
  }

  #key(event) {
    // 229 is what Safari reports for the Enter that ends a composition, when it is no longer one.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.send();
  }

  #escape(event) {
    if (event.isComposing || this.root.querySelector("dialog[open]")) return;
    if (this.#menuIsOpen()) this.#menu(false);
    else this.stop();
  }

  #menu(open) {
    this.root.classList.toggle("sc-open", open);
    this.at.menu.setAttribute("aria-expanded", String(open));
    (open ? this.at.new : this.at.menu).focus();
  }

  #menuIsOpen() {
    return this.root.classList.contains("sc-open");
  }

  /** Another tab has sent something. */
  #elsewhere({ conversation }) {
    this.#guard(this.#list());
    if (conversation === this.conversation && !this.live) this.#guard(this.reload());
  }

  async #rename(dialog) {
    const title = dialog.querySelector("input").value.trim();
    this.#title(await this.api.json("PATCH", `api/conversations/${this.conversation}`, { title }));
    await this.#list();
  }

  async #remove() {
    await this.api.json("DELETE", `api/conversations/${this.conversation}`);
    this.drafts.forget();
    location.assign(this.api.root);
  }

  #typed() {
    this.drafts.save(this.at.text.value, this.#model());
    this.#grow();
  }

  #write(text) {
    this.at.text.value = text;
    this.#grow();
  }

  /** Make room for what is typed, in browsers that do not by `field-sizing`. */
  #grow() {
    this.at.text.rows = Math.min(8, this.at.text.value.split("\n").length);
  }

  #restoreDraft() {
    const draft = this.drafts.load();
    if (draft && !this.at.text.value) this.#write(draft.text);
    this.wanted = draft?.model;
    // On a phone, focus would bring up the keyboard over what there is to read.
    if (matchMedia("(pointer: fine)").matches) this.at.text.focus();
  }

  /** Fill the window below whatever the site has above the chat. */
  #fit() {
    const top = this.root.getBoundingClientRect().top + scrollY;
    this.root.style.setProperty("--sc-top", `${Math.round(top)}px`);
  }

  /** Show the buttons that make sense now. */
  #settle() {
    const writing = Boolean(this.live);
    this.root.classList.toggle("sc-writing", writing);
    this.at.send.hidden = writing;
    this.at.stop.hidden = !writing;
    this.at.stop.disabled = Boolean(this.live?.stopping);
    this.at.empty.hidden = this.at.messages.childElementCount > 0;
  }

  #say(text) {
    this.at.status.textContent = text;
  }

  /** Show an error, null for none; again: what its button repeats. */
  #fail(error, again = null) {
    this.at.error.hidden = !error;
    this.at["error-text"].textContent = error ? this.#words(error) : "";
    this.at.login.hidden = error?.code !== "not_signed_in";
    this.at.retry.hidden = !again;
    this.at.retry.onclick = () => {
      this.#fail(null);
      again();
    };
    this.#hold(error?.retryAfter);
  }

  /** Keep the button from being pressed before the server wants to be asked again. */
  #hold(seconds) {
    clearTimeout(this.holding);
    this.at.retry.disabled = Boolean(seconds);
    if (seconds) this.holding = setTimeout(() => (this.at.retry.disabled = false), seconds * 1000);
  }

  #words(error) {
    return error instanceof Refusal ? error.message : this.texts.offline;
  }

  /** Show the error of something that is no reply. */
  async #guard(promise) {
    try {
      await promise;
    } catch (error) {
      console.error(error);
      this.#fail(error);
    }
  }
}

/** Open a dialog that Escape answers with "", whatever was answered before. */
function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
}

/** Return the number of code points, as the server counts. */
function length(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

const texts = JSON.parse(document.getElementById("sc-texts").textContent);
new Chat(document.getElementById("sc-chat"), texts).open();
