/** What has arrived of a reply: text, reasoning and tool calls, up to a position. No DOM. */

/** @import { Message, StreamEvent, ToolCall } from "./types" */

export class ReplyContent {
  text = "";
  reasoning = "";
  /** @type {ToolCall[]} */
  tools = [];
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
    }
    return content;
  }

  /** Return the text and the reasoning, which is what a continuation takes over. */
  withoutTools() {
    return Object.assign(this.copy(), { tools: [], position: this.position - this.tools.length });
  }

  copy() {
    return Object.assign(new ReplyContent(), this);
  }

  /**
   * Add an event of the stream.
   *
   * @param {StreamEvent} event
   */
  add({ data, id }) {
    this.text += data.text ?? "";
    this.reasoning += data.reasoning ?? "";
    if (data.tool_call) this.tools.push(data.tool_call);
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
