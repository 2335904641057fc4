/** What has arrived of a reply: text, reasoning, tool calls with their results, and sources, up to a position. No DOM. */

/** @import { ApprovalCall, Message, Source, StreamEvent, ToolCall, ToolResult } from "./types" */

export class ReplyContent {
  text = "";
  reasoning = "";
  /** @type {ToolCall[]} */
  tools = [];
  /** @type {Map<string, ToolResult>} By the id of the call. */
  results = new Map();
  /** @type {Map<string, ApprovalCall>} The calls for which the reply has waited, by id. */
  asked = new Map();
  /** @type {Map<string, boolean>} Whether a call was allowed, by id; of calls that have been answered and have no result yet. */
  answers = new Map();
  /** @type {boolean | undefined} Whether the user may answer; undefined until the server has said so. */
  mayAnswer = undefined;
  /** Whether the site runs the tools. */
  hasSteps = false;
  /** @type {Source[]} */
  sources = [];
  /** The kind of what came last, "" for nothing. */
  latest = "";
  /** The number of units so far, as the server counts them; 0 before the start event. */
  position = 0;

  /**
   * Return the content of a message as the API has it.
   *
   * @param {Message} message
   */
  static of({ text, parts = [], answers = [], may_answer, position }) {
    const content = new ReplyContent();
    content.text = text;
    content.position = position;
    for (const part of parts) {
      content.latest = part.kind;
      if (part.kind === "reasoning") content.reasoning += part.text;
      else if (part.kind !== "text") content.#addPart(part.kind, part);
    }
    content.noteAnswers(answers, may_answer);
    return content;
  }

  /** Return the text and the reasoning, which is what a continuation takes over. */
  textOnly() {
    const { text, reasoning } = this;
    // After the start, which is one unit.
    const position = 1 + codePoints(text) + codePoints(reasoning);
    return Object.assign(new ReplyContent(), { text, reasoning, position });
  }

  copy() {
    return Object.assign(new ReplyContent(), this);
  }

  /**
   * Note which calls were answered.
   *
   * @param {NonNullable<Message["answers"]>} answers
   * @param {boolean} [mayAnswer] Whether the user may answer the others, if that is known.
   */
  noteAnswers(answers, mayAnswer = this.mayAnswer) {
    this.mayAnswer = mayAnswer;
    for (const { call, approved } of answers) this.answers.set(call, approved);
  }

  /**
   * Add an event of the stream; a "reset" starts over.
   *
   * @param {StreamEvent} event
   */
  add({ event, data, id }) {
    if (event === "reset") Object.assign(this, new ReplyContent(), { mayAnswer: this.mayAnswer });
    this.text += data.text ?? "";
    this.reasoning += data.reasoning ?? "";
    if (data[event]) this.#addPart(event, data[event]);
    if (id) this.latest = event;
    this.position = Number(id.slice(id.lastIndexOf("/") + 1)) || this.position;
  }

  /** In code points, as the server counts. */
  get textLength() {
    return codePoints(this.text);
  }

  /** Whether there is no text that can be seen. */
  get isBlank() {
    return !this.text.trim();
  }

  /** Whether there is nothing to judge. */
  get isEmpty() {
    return this.isBlank && !this.tools.length;
  }

  /** Whether a tool was the last to say something: the model has not begun to go on with its result. */
  get isAfterTool() {
    return this.latest === "tool_result" || this.latest === "step";
  }

  /**
   * @param {string} kind
   * @param {any} part
   */
  #addPart(kind, part) {
    if (kind === "step") this.hasSteps = true;
    else if (kind === "tool_call") this.tools.push(part);
    else if (kind === "tool_result") this.results.set(part.id, part);
    else if (kind === "source") this.sources.push(part);
    else if (kind === "approval") for (const call of part.calls) this.asked.set(call.id, call);
  }
}

/** @param {string} text */
function codePoints(text) {
  return Array.from(text).length;
}
