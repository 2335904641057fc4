/**
 * One chat: creates the parts of its element, and opens and closes them. They reach each other through it.
 *
 * Loading a conversation is in conversation-view.js, sending in message-sender.js, following a reply in reply-follower.js.
 */

import { AutoScroll } from "./auto-scroll.js";
import { BranchSwitcher } from "./branch-switcher.js";
import { CallAnswers } from "./call-answers.js";
import { Composer } from "./composer.js";
import { createContext } from "./context.js";
import { ConversationActions } from "./conversation-actions.js";
import { ConversationList } from "./conversation-list.js";
import { ConversationMarks } from "./conversation-marks.js";
import { ConversationView } from "./conversation-view.js";
import { Corner } from "./corner.js";
import { keepFocus } from "./focus.js";
import { FoundWords } from "./found-words.js";
import { KeyboardShortcuts } from "./keyboard-shortcuts.js";
import { hasModifier, isTouchScreen } from "./keys.js";
import { preloadRenderer } from "./lazy-markdown.js";
import { ChatLocation } from "./location.js";
import { MessageFactory } from "./message-factory.js";
import { MessageQueue } from "./message-queue.js";
import { MessageList } from "./message-list.js";
import { MessageSender } from "./message-sender.js";
import { PageLayout } from "./page-layout.js";
import { refuseFiles } from "./refuse-files.js";
import { ReplyFollower } from "./reply-follower.js";
import { Sidebar } from "./sidebar.js";
import { carryTextOverSignIn } from "./sign-in.js";
import { listenToSuggestions } from "./suggestions.js";
import { TabSync } from "./tab-sync.js";
import { VisitorConversations } from "./visitor-conversations.js";

/** @import { SearchMatch } from "./types" */

export class Chat {
  #closing = new AbortController();
  /** @type {Corner | null} */
  corner = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    // An element that is put back into the page still has its messages and rows, whose parts have names like the chat's own.
    for (const list of element.querySelectorAll("[data-part=messages], [data-part=conversations]")) list.replaceChildren();
    const context = createContext(element, this.#closing.signal);
    const { config, errors, parts, signal } = context;
    this.element = element;
    this.config = config;
    this.parts = parts;
    this.templates = context.templates;
    this.translations = context.translations;
    this.api = context.api;
    this.notices = context.notices;
    this.errors = errors;
    this.signal = signal;
    this.layout = new PageLayout({ element, isPage: config.isPage, signal });
    this.location = new ChatLocation({ element, ...config, moved: (id) => errors.guard(this.view.show(id)), signal });
    this.autoScroll = new AutoScroll(parts.scroll, parts.latest, signal);
    this.sidebar = new Sidebar({ parts, signal });
    this.sender = new MessageSender(this);
    this.follower = new ReplyFollower(this);
    this.shortcuts = new KeyboardShortcuts(this);
    this.composer = new Composer({ ...config, ...context, on: this.#composerHandlers() });
    this.queue = new MessageQueue({ ...config, parts, on: this.#queueHandlers(), signal });
    this.callAnswers = new CallAnswers(this);
    this.messageFactory = new MessageFactory(this);
    this.messages = this.#makeMessageList(context);
    this.marks = new ConversationMarks(this);
    this.conversationList = this.#makeList(context);
    this.view = new ConversationView(this);
    this.branches = new BranchSwitcher(this);
    this.foundWords = new FoundWords(this);
    this.actions = new ConversationActions(this);
    this.visitorConversations = new VisitorConversations(this);
    this.tabs = new TabSync(this);
  }

  /** The id of the conversation in view, "" for a new chat. */
  get conversation() {
    return this.location.conversation;
  }

  /** Whether the conversation is loading or a reply is being written, so that nothing can be sent. */
  get isBusy() {
    return this.view.isLoading || this.follower.isFollowing;
  }

  /** Start the chat; in the layout "corner", when the user opens it. */
  open() {
    if (!this.config.isCorner) return this.#start();
    const { composer, config, parts, signal } = this;
    const firstOpened = () => this.#start();
    this.corner = new Corner({ ...config, parts, text: () => composer.text, firstOpened, signal });
    this.corner.linkTo(this.conversation);
  }

  /** Stop everything that this page does; replies continue on the server. */
  close() {
    this.view.close();
    this.#closing.abort();
    this.tabs.close();
    this.autoScroll.close();
    this.notices.close();
  }

  /**
   * Go to another conversation, "" for a new chat, and there to what a search has found.
   *
   * @param {string} id
   * @param {SearchMatch} [match]
   */
  async visit(id, match) {
    this.location.go(id);
    this.sidebar.toggle(false);
    await this.view.show(id);
    this.#focusStart();
    if (match) await this.foundWords.show(match);
  }

  /** Refresh the list of conversations and the title in view. Returns the newest conversations. */
  async refreshList() {
    const results = await this.conversationList.refresh();
    const current = results.find(({ id }) => id === this.conversation);
    if (current) this.view.setTitle(current);
    this.marks.listChanged();
    return results;
  }

  /** Show the controls that fit what the chat does now. */
  updateControls() {
    this.keepFocus(() => {
      const { isFollowing, isStopping } = this.follower;
      this.messages.lock(isFollowing);
      this.parts.empty.hidden = !this.messages.isEmpty || Boolean(this.conversation);
      this.composer.showButtons({ isLive: isFollowing, isStopping });
      this.queue.showButton(isFollowing);
    });
    this.corner?.linkTo(this.conversation);
    this.marks.update();
  }

  /**
   * Change the page. If the element that had the focus is no longer shown, the composer gets it.
   *
   * @param {() => void} change
   */
  keepFocus(change) {
    keepFocus(this.parts.frame, change, () => this.composer.focus());
  }

  /** @param {ReturnType<typeof createContext>} context */
  #makeMessageList({ errors, parts, signal }) {
    return new MessageList({
      parts,
      makeView: (message) => this.messageFactory.make(message),
      fetchBefore: (id) => errors.guard(this.view.fetchBefore(id)),
      signal,
    });
  }

  /** @param {ReturnType<typeof createContext>} context */
  #makeList(context) {
    return new ConversationList({
      ...context,
      current: this.location.conversation,
      opened: (id, match) => this.errors.guard(this.visit(id, match)),
      chosen: (action, conversation) => this.actions.choose(action, conversation),
      unread: this.marks.unread,
    });
  }

  #start() {
    const { config, errors } = this;
    this.#listen();
    this.messages.show([], null);
    this.layout.fit();
    this.composer.open(this.conversation);
    this.queue.open(this.conversation);
    if (config.isPage) this.#focusStart();
    if (this.conversation) preloadRenderer(config.modules.markdown);
    errors.guard(this.#showFirst());
    errors.guard(this.refreshList());
    errors.guard(this.#loadModels());
    if (config.mayHaveVisitorConversations) errors.guard(this.visitorConversations.offer());
  }

  /** Show the conversation of the page's address, at the message that its fragment names. */
  async #showFirst() {
    const message = this.config.isPage && location.hash.startsWith("#m-") ? location.hash.slice(3) : null;
    await this.view.reload();
    if (message && this.conversation) await this.foundWords.show({ message, snippet: [] });
  }

  #listen() {
    const { composer, config, parts, signal } = this;
    this.shortcuts.start();
    this.tabs.start();
    for (const link of [parts.new, parts.headNew]) link.addEventListener("click", (event) => this.#newChat(event), { signal });
    const refused = () => this.notices.showInfo(this.translations.say("no_files"));
    listenToSuggestions({ parts, on: this.#suggestionHandlers(), signal });
    refuseFiles({ area: config.isPage ? document : parts.frame, refused, signal });
    parts.login.addEventListener("click", () => carryTextOverSignIn(parts.login, config, composer.text), { signal });
  }

  #composerHandlers() {
    return {
      send: () => this.errors.guard(this.sender.send()),
      stop: () => this.errors.guard(this.follower.stop()),
      editLast: () => (this.queue.isEmpty ? this.shortcuts.editLastMessage() : this.queue.edit()),
    };
  }

  #suggestionHandlers() {
    return {
      send: (/** @type {string} */ text) => this.errors.guard(this.sender.sendText(text)),
      fill: (/** @type {string} */ text) => this.composer.insert(text),
    };
  }

  #queueHandlers() {
    return {
      send: () => this.errors.guard(this.sender.sendQueued()),
      edit: (/** @type {string} */ text) => this.composer.insert(text),
      removed: () => this.composer.focus(),
    };
  }

  /** @param {MouseEvent} event */
  #newChat(event) {
    if (hasModifier(event)) return;
    event.preventDefault();
    this.errors.guard(this.visit(""));
  }

  /** Focus where the user most likely continues. On a phone, a field would open the keyboard over what there is to read. */
  #focusStart() {
    if (!isTouchScreen()) this.composer.focus();
    else this.parts.scroll.focus({ preventScroll: true });
  }

  async #loadModels() {
    const { results } = await this.api.get("api/models");
    this.composer.models.offer(results);
  }
}
