/** The shapes that several modules share: what the API sends (docs/http-api.md), and the named elements of the templates. */

import type { Message } from "../declarations/client";

export type {
  ApprovalCall, ErrorBody, FeedbackData, Message, MessagePart, Siblings, Source, ToolCall, ToolResult, Usage,
} from "../declarations/client";

/** A model as GET api/models has it. */
export interface OfferedModel {
  id: string;
  label: string;
  description: string;
  /** How much it reasons if nothing is chosen; null if that is not known. */
  effort: string | null;
  /** What can be chosen. */
  efforts: string[];
  default: boolean;
}

/** What a message is sent with, "" for what was not chosen. */
export interface ModelChoice {
  model: string;
  effort: string;
}

export interface Conversation {
  id: string;
  title: string;
  model: string;
  head: string | null;
  last_status: string | null;
  last_activity: string;
  /** With a search only. */
  match?: SearchMatch;
}

export interface SearchMatch {
  /** Null if only the title matches. */
  message: string | null;
  snippet: { text: string; is_match: boolean }[];
}

export interface OpenConversation extends Conversation {
  /** The newest of the branch in view. */
  messages: Message[];
  /** The `before` of the page before them, null if they are all. */
  earlier: string | null;
}

export interface EarlierPage {
  results: Message[];
  earlier: string | null;
}

export interface ConversationPage {
  results: Conversation[];
  /** The `before` of the next page, null on the last one. */
  next: string | null;
}

/** What the `start` event of a stream says. */
export interface ReplyIds {
  message: string;
  user_message: string | null;
  conversation: string;
  model: string;
}

/** How a reply ended: the ending event of its stream, or the message as the API has it. */
export interface Ending {
  status: string;
  end_reason?: string;
  /** Whether the reply was cut off after some text, and can be continued. */
  can_continue?: boolean;
  error?: { message: string; code?: string } | null;
}

/** One event of a reply's stream. id is "" for an event without one. */
export interface StreamEvent {
  event: string;
  data: any;
  id: string;
}

/** A request that makes a reply. */
export interface ReplyRequest {
  path: string;
  body: { client_id: string; [name: string]: unknown };
  /** The conversation it belongs to, "" for a new one. */
  conversation: string;
  /** Called once, when the server has named the reply. */
  accepted(ids: ReplyIds): void;
  /**
   * Called when there is no reply: undoes on the page what was shown in advance. error is null when the user stopped the message
   * before the server had it. Returns what "Try again" does, null when there is nothing to repeat.
   */
  refused(error: Error | null): (() => void) | null;
}

/** Addresses of the modules that are loaded when they are needed, "" for one that may not be loaded. */
export interface ModuleAddresses {
  markdown: string;
  highlighter: string;
  typesetter: string;
}

/** Translated texts of Markdown: `image` has {alt} and {address}. */
export type MarkdownTexts = Record<string, string>;

export type ElementFactories = Record<"conversation" | "group" | "user" | "edit" | "reply" | "call" | "answer", () => HTMLElement>;

/** The named elements of element.html. */
export interface ChatParts {
  frame: HTMLElement;
  launcher: HTMLButtonElement;
  launcherLink: HTMLAnchorElement;
  close: HTMLButtonElement;
  fullPage: HTMLAnchorElement;
  side: HTMLElement;
  new: HTMLAnchorElement;
  search: HTMLInputElement;
  conversations: HTMLElement;
  rowMenu: HTMLElement;
  none: HTMLElement;
  more: HTMLButtonElement;
  export: HTMLAnchorElement;
  main: HTMLElement;
  menu: HTMLButtonElement;
  title: HTMLElement;
  headNew: HTMLAnchorElement;
  tools: HTMLElement;
  rename: HTMLButtonElement;
  remove: HTMLButtonElement;
  claim: HTMLElement;
  claimText: HTMLElement;
  claimKeep: HTMLButtonElement;
  claimDrop: HTMLButtonElement;
  scroll: HTMLElement;
  empty: HTMLElement;
  earlier: HTMLButtonElement;
  messages: HTMLOListElement;
  latest: HTMLButtonElement;
  undo: HTMLElement;
  undoButton: HTMLButtonElement;
  error: HTMLElement;
  errorText: HTMLElement;
  login: HTMLAnchorElement;
  retry: HTMLButtonElement;
  dismiss: HTMLButtonElement;
  queue: HTMLElement;
  queueText: HTMLElement;
  queueSend: HTMLButtonElement;
  queueEdit: HTMLButtonElement;
  queueRemove: HTMLButtonElement;
  composer: HTMLFormElement;
  text: HTMLTextAreaElement;
  modelField: HTMLElement;
  model: HTMLButtonElement;
  modelName: HTMLElement;
  modelMenu: HTMLElement;
  effortField: HTMLElement;
  effort: HTMLSelectElement;
  status: HTMLElement;
  send: HTMLButtonElement;
  stop: HTMLButtonElement;
  shortcuts: HTMLDialogElement;
  shortcutsButton: HTMLButtonElement;
  renameDialog: HTMLDialogElement;
  renameCancel: HTMLButtonElement;
  newTitle: HTMLInputElement;
  shareDialog: HTMLDialogElement;
  shareMade: HTMLElement;
  shareLink: HTMLInputElement;
  shareCopy: HTMLButtonElement;
  shareState: HTMLElement;
  shareClose: HTMLButtonElement;
  shareRevoke: HTMLButtonElement;
  shareMake: HTMLButtonElement;
}

/** The answer of api/conversations/<id>/share; url: only of a link that was just made. */
export interface ShareState {
  url?: string;
  shared_at: string | null;
}

export interface RowParts {
  mark: HTMLElement;
  name: HTMLElement;
  snippet: HTMLElement;
  actions: HTMLButtonElement;
}

export interface GroupParts {
  label: HTMLElement;
  list: HTMLUListElement;
}

export interface PagerParts {
  pager: HTMLElement;
  previous: HTMLButtonElement;
  next: HTMLButtonElement;
  place: HTMLElement;
}

export interface UserParts extends PagerParts {
  text: HTMLElement;
  actions: HTMLElement;
  copy: HTMLButtonElement;
  edit: HTMLButtonElement;
}

export interface EditParts {
  text: HTMLTextAreaElement;
  cancel: HTMLButtonElement;
}

export interface CallParts {
  summary: HTMLElement;
  name: HTMLElement;
  state: HTMLElement;
  arguments: HTMLElement;
  outputField: HTMLElement;
  output: HTMLElement;
}

export interface AnswerParts {
  question: HTMLElement;
  arguments: HTMLElement;
  changedField: HTMLElement;
  changedLabel: HTMLLabelElement;
  changed: HTMLTextAreaElement;
  problem: HTMLElement;
  choice: HTMLElement;
  allow: HTMLButtonElement;
  deny: HTMLButtonElement;
  denial: HTMLElement;
  reasonLabel: HTMLLabelElement;
  reason: HTMLTextAreaElement;
  back: HTMLButtonElement;
  refuse: HTMLButtonElement;
}

export interface ReplyParts extends PagerParts {
  reasoning: HTMLDetailsElement;
  reasoningSummary: HTMLElement;
  reasoningText: HTMLElement;
  text: HTMLElement;
  tools: HTMLElement;
  sources: HTMLElement;
  sourcesList: HTMLOListElement;
  waiting: HTMLElement;
  ending: HTMLElement;
  outcome: HTMLElement;
  continue: HTMLButtonElement;
  actions: HTMLElement;
  copy: HTMLButtonElement;
  good: HTMLButtonElement;
  bad: HTMLButtonElement;
  again: HTMLButtonElement;
  againText: HTMLElement;
  againMenu: HTMLButtonElement;
  facts: HTMLDetailsElement;
  factsList: HTMLElement;
  comment: HTMLFormElement;
  commentLabel: HTMLLabelElement;
  commentText: HTMLTextAreaElement;
  commentCancel: HTMLButtonElement;
  commentSaved: HTMLElement;
  commentShown: HTMLElement;
  commentEdit: HTMLButtonElement;
}
