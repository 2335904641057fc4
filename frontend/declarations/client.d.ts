/** Types of streaming_chat's client.js. What the API sends is described in docs/http-api.md. */

export interface ErrorBody {
  code: string;
  /** Safe to show, in the language of the request. */
  message: string;
  retryable?: boolean;
  /** The reference with which the site finds the error in its log. */
  ref?: string;
  /** What was wrong, by the name of the field. */
  fields?: Record<string, string>;
}

export interface Siblings {
  /** Starts at 1. */
  index: number;
  count: number;
  /** The versions before and after it, null or absent if there is none. */
  previous?: string | null;
  next?: string | null;
}

export interface FeedbackData {
  value: 1 | -1;
  comment: string;
}

export interface ToolCall {
  /** Unique in a reply with tools of the site. */
  id: string;
  name: string;
  /** JSON. */
  arguments: string;
  /** False if the arguments were cut off. */
  complete: boolean;
  /** "provider" if the provider runs the tool itself: there is no result. */
  runs?: string;
}

/** How a call of a tool of the site has ended. */
export interface ToolResult {
  id: string;
  status: "ok" | "error" | "denied" | "cancelled" | "unknown";
  /** What the model is told. */
  output: string;
  /** How long the tool ran, 0 if it did not. */
  ms: number;
}

/** A call that waits for an answer. */
export interface ApprovalCall {
  id: string;
  runs: "server" | "client";
  /** Whether the answer may change its arguments. */
  editable: boolean;
}

export interface Approval {
  calls: ApprovalCall[];
  /** An ISO 8601 time. */
  expires: string;
}

/** What a reply cites. Each value may be "". */
export interface Source {
  url: string;
  title: string;
  id: string;
  text: string;
  origin: string;
}

export type MessagePart =
  | { kind: "text" | "reasoning"; text: string }
  | ({ kind: "tool_call" } & ToolCall)
  | ({ kind: "tool_result" } & ToolResult)
  | ({ kind: "approval" } & Approval)
  | { kind: "step"; number: number }
  | ({ kind: "source" } & Source);

export interface Usage {
  input_tokens: number | null;
  cached_input_tokens: number | null;
  cache_write_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  estimated: boolean;
}

export interface Message {
  id: string;
  conversation: string;
  parent: string | null;
  role: "user" | "assistant";
  text: string;
  parts: MessagePart[];
  status: string;
  end_reason: string;
  can_continue: boolean;
  error: ErrorBody | null;
  model: string;
  effort: string;
  usage: Usage | null;
  cost: string | null;
  first_event_ms: number | null;
  reasoning_ms: number | null;
  duration_ms: number | null;
  position: number;
  /** The answers to its tool calls, while it waits or goes on after them. */
  answers?: { call: string; approved: boolean }[];
  /** Whether the user may answer; where `answers` is. */
  may_answer?: boolean;
  created_at: string;
  feedback: FeedbackData | null;
  siblings: Siblings;
}

/** How a reply ended. */
export interface ReplyEnding {
  status: "completed" | "stopped" | "interrupted" | "failed";
  /** Why, for example "stop", "length" or "user". */
  end_reason: string;
  /** Whether it was cut off after some text, and `continue` can go on with it. */
  can_continue: boolean;
  /** Why it is not completed; null also if it was stopped. */
  error?: ErrorBody | null;
  usage: Usage | null;
  /** The code points of its text. */
  length: number;
  model: string;
  /** Of a reply that was to be an object. */
  output?: unknown;
  output_error?: ErrorBody | null;
}

/**
 * One event of a reply. Every event has a text, which is "" unless its type is "text". A "reset" says that what came before is not
 * the reply's text any more: it begins again. Ignore types that you do not know.
 */
export type ReplyEvent =
  | { type: "start"; text: ""; message: string; user_message: string | null; conversation: string; model: string }
  | { type: "text"; text: string }
  | { type: "reasoning"; text: ""; reasoning: string }
  | { type: "tool_call"; text: ""; tool_call: ToolCall }
  | { type: "step"; text: ""; step: { number: number } }
  | { type: "tool_result"; text: ""; tool_result: ToolResult }
  | { type: "approval"; text: ""; approval: Approval }
  | { type: "source"; text: ""; source: Source }
  | { type: "reset"; text: "" }
  | ({ type: "end"; text: "" } & ReplyEnding);

export interface FollowOptions {
  /** Stops following when it is aborted. The reply continues on the server: `ReplyStream.stop` ends it. */
  signal?: AbortSignal;
  /** Called with the error before every pause, and with null when the connection is back. */
  onConnectionChange?: (error: unknown) => void;
  /** How many attempts in a row may fail before the error is thrown. By default 10, about three minutes. */
  retries?: number;
}

export interface ContinueOptions extends FollowOptions {
  /** By which the server knows a request again. By default a random one. */
  client_id?: string;
  disconnect?: "stop" | "finish";
}

export interface RegenerateOptions extends ContinueOptions {
  model?: string;
  effort?: string;
}

export interface SendOptions extends RegenerateOptions {
  /** The id of the conversation; without it, a new one begins. */
  conversation?: string;
  /** The reply after which the message is sent, as a branch; null starts a new root. */
  parent?: string | null;
  output?: string;
  context?: string;
}

export interface ClientOptions {
  /** Of each request, for example Authorization; or a function that returns them, and is called for each request. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** Whether cookies are sent: by default "include", or "omit" if there are `headers`. With cookies, CSRF tokens are sent, too. */
  credentials?: RequestCredentials;
  /** The header for the CSRF token, if the site has changed CSRF_HEADER_NAME. */
  csrfHeader?: string;
  /** Seconds without a byte after which a connection counts as lost. By default 35; more than two of the site's heartbeats. */
  silence?: number;
}

/** The API at one address, for example "https://chat.example.com/chat/". */
export class ChatClient {
  constructor(root: string | URL, options?: ClientOptions);
  /** Send a message and follow its reply. */
  send(content: string, options?: SendOptions): ReplyStream;
  /** Ask for another reply in place of this one. */
  regenerate(message: string, options?: RegenerateOptions): ReplyStream;
  /** Ask for a reply that begins with the text of this one, which was cut off. */
  continue(message: string, options?: ContinueOptions): ReplyStream;
  /** Follow a reply from its beginning, while it is written or afterwards. */
  follow(message: string, options?: FollowOptions): ReplyStream;
  /** Follow a reply after a `ReplyStream.position`. */
  resume(position: string, options?: FollowOptions): ReplyStream;
  /** Stop a reply where the server is. */
  stop(message: string): Promise<Message>;
  /** Send any other request of the API, and return the JSON of the answer, or null. */
  request(method: string, path: string, body?: unknown, options?: { signal?: AbortSignal }): Promise<any>;
}

/**
 * A reply: its events, and what has arrived so far. Reading throws the ApiError that refused the request, NetworkError after too many
 * failed attempts, and the reason of an aborted signal. A reply that went wrong does not throw: `ending` says how it ended.
 */
export interface ReplyStream extends AsyncIterable<ReplyEvent> {
  /** "" until the server has named it, with the "start" event. */
  readonly id: string;
  readonly conversation: string;
  readonly userMessage: string | null;
  readonly model: string;
  readonly text: string;
  readonly reasoning: string;
  readonly toolCalls: ToolCall[];
  readonly sources: Source[];
  /** Where `ChatClient.resume` continues. */
  readonly position: string;
  /** Null until it has ended. */
  readonly ending: ReplyEnding | null;
  /** Read all events, and return how the reply ended. */
  read(onEvent?: (event: ReplyEvent) => void): Promise<ReplyEnding>;
  /** Stop the reply at `position`: its text is then what was read. If it has not begun yet, it is stopped as soon as it has. */
  stop(): Promise<Message>;
}

/** An answer with an error status, or one that is not the API's (code "unexpected"). */
export class ApiError extends Error {
  constructor(status: number, error: ErrorBody, retryAfter?: number | null);
  readonly status: number;
  readonly code: string;
  /** Seconds, null if the server did not say. */
  readonly retryAfter: number | null;
  /** Whether it is useless to repeat the same request. */
  readonly isFinal: boolean;
}

/** No answer came, or none in time. `cause` is the browser's error. */
export class NetworkError extends Error {
  constructor(cause: unknown);
}
