/**
 * One chat: creates the parts of its element, and opens and closes them. They reach each other through it.
 *
 * Loading a conversation is in conversation-view.js, sending in message-sender.js, following a reply in reply-follower.js.
 */

import { AutoScroll } from "./auto-scroll.js";
import { BranchSwitcher } from "./branch-switcher.js";
import { Composer } from "./composer.js";
import { createContext } from "./context.js";
import { ConversationActions } from "./conversation-actions.js";
import { ConversationList } from "./conversation-list.js";
import { ConversationView } from "./conversation-view.js";
import { Corner } from "./corner.js";
import { keepFocus } from "./focus.js";
import { KeyboardShortcuts } from "./keyboard-shortcuts.js";
import { hasModifier, isTouchScreen } from "./keys.js";
import { preloadRenderer } from "./lazy-markdown.js";
import { LiveWatch } from "./live-watch.js";
import { ChatLocation } from "./location.js";
import { MessageFactory } from "./message-factory.js";
import { MessageQueue } from "./message-queue.js";
import { MessageList } from "./message-list.js";
import { MessageSender } from "./message-sender.js";
import { PageLayout } from "./page-layout.js";
import { refuseFiles } from "./refuse-files.js";
import { Reply } from "./reply.js";
import { ReplyFollower } from "./reply-follower.js";
import { Sidebar } from "./sidebar.js";
import { carryTextOverSignIn } from "./sign-in.js";
import { listenToSuggestions } from "./suggestions.js";
import { TabSync } from "./tab-sync.js";
import { UnreadMarks } from "./unread-marks.js";
import { VisitorConversations } from "./visitor-conversations.js";

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
    this.messageFactory = new MessageFactory(this);
    this.messages = new MessageList({ parts, makeView: (message) => this.messageFactory.make(message), signal });
    this.unread = new UnreadMarks({ scope: config.sharedScope, changed: () => this.#showMarks(), signal });
    this.conversationList = this.#makeList(context);
    const followed = () => (this.follower.isFollowing ? this.conversation : "");
    this.liveWatch = new LiveWatch({ api: this.api, followed, changed: () => this.refreshList(), signal });
    this.view = new ConversationView(this);
    this.branches = new BranchSwitcher(this);
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
    const { parts, config, signal } = this;
    this.corner = new Corner({ parts, scope: config.scope, firstOpened: () => this.#start(), signal });
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
   * Go to another conversation, "" for a new chat.
   *
   * @param {string} id
   */
  async visit(id) {
    this.location.go(id);
    this.sidebar.toggle(false);
    await this.view.show(id);
    this.#focusStart();
  }

  /** Refresh the list of conversations and the title in view. Returns the newest conversations. */
  async refreshList() {
    const results = await this.conversationList.refresh();
    const current = results.find(({ id }) => id === this.conversation);
    if (current) this.view.setTitle(current);
    this.liveWatch.watch(this.conversationList.live);
    this.updateMarks();
    return results;
  }

  /** Show which conversations are unread. The one that the user sees is not. */
  updateMarks() {
    if (this.#isReplySeen) this.unread.noteSeen(this.conversation, this.messages.last?.id ?? null);
    this.#showMarks();
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
    this.updateMarks();
  }

  /**
   * Change the page. If the element that had the focus is no longer shown, the composer gets it.
   *
   * @param {() => void} change
   */
  keepFocus(change) {
    keepFocus(this.parts.frame, change, () => this.composer.focus());
  }

  #showMarks() {
    const { conversationList, layout, translations } = this;
    conversationList.updateMarks();
    const count = conversationList.unreadCount;
    if (count !== undefined) layout.setUnread(count ? translations.number(count) : "");
  }

  /** Whether the user sees a conversation whose last reply has ended. */
  get #isReplySeen() {
    const { last } = this.messages;
    if (!this.conversation || !(last instanceof Reply) || last.isLive) return false;
    return document.visibilityState === "visible" && this.corner?.isOpen !== false;
  }

  /** @param {ReturnType<typeof createContext>} context */
  #makeList(context) {
    return new ConversationList({
      ...context,
      current: this.location.conversation,
      opened: (id) => this.errors.guard(this.visit(id)),
      chosen: (action, conversation) => this.actions.choose(action, conversation),
      unread: this.unread,
    });
  }

  #start() {
    const { config, errors } = this;
    this.#listen();
    this.messages.show([]);
    this.layout.fit();
    this.composer.open(this.conversation);
    this.queue.open(this.conversation);
    if (config.isPage) this.#focusStart();
    if (this.conversation) preloadRenderer(config.modules.markdown);
    errors.guard(this.view.reload());
    errors.guard(this.refreshList());
    errors.guard(this.#loadModels());
    if (config.mayHaveVisitorConversations) errors.guard(this.visitorConversations.offer());
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
