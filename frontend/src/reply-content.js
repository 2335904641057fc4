/** What has arrived of a reply: text, reasoning, tool calls and sources, up to a position. No DOM. */

/** @import { Message, Source, StreamEvent, ToolCall } from "./types" */

export class ReplyContent {
  text = "";
  reasoning = "";
  /** @type {ToolCall[]} */
  tools = [];
  /** @type {Source[]} */
  sources = [];
  /** The number of units so far, as the server counts them; 0 before the start event. */
  position = 0;

  /**
   * Return the content of a message as the API has it.
   *
   * @param {Message} message
   */
  static of({ text, parts = [], position }) {
    const content = new ReplyContent();
    content.text = text;
    content.position = position;
    for (const part of parts) {
      if (part.kind === "reasoning") content.reasoning += part.text;
      else if (part.kind === "tool_call") content.tools.push(part);
      else if (part.kind === "source") content.sources.push(part);
    }
    return content;
  }

  /** Return the text and the reasoning, which is what a continuation takes over. */
  textOnly() {
    const { tools, sources, position } = this;
    return Object.assign(this.copy(), { tools: [], sources: [], position: position - tools.length - sources.length });
  }

  copy() {
    return Object.assign(new ReplyContent(), this);
  }

  /**
   * Add an event of the stream; a "reset" starts over.
   *
   * @param {StreamEvent} event
   */
  add({ event, data, id }) {
    if (event === "reset") Object.assign(this, new ReplyContent());
    this.text += data.text ?? "";
    this.reasoning += data.reasoning ?? "";
    if (data.tool_call) this.tools.push(data.tool_call);
    if (data.source) this.sources.push(data.source);
    this.position = Number(id.slice(id.lastIndexOf("/") + 1)) || this.position;
  }

  /** In code points, as the server counts. */
  get textLength() {
    return Array.from(this.text).length;
  }

  /** Whether there is no text that can be seen. */
  get isBlank() {
    return !this.text.trim();
  }

  /** Whether there is nothing to judge. */
  get isEmpty() {
    return this.isBlank && !this.tools.length;
  }
}
