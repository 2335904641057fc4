/** Programs that use client.js, for tsc: it accepts all but the lines that it is told to refuse, and the source is what the types say. */

import * as declared from "../../streaming_chat/static/streaming_chat/client.js";
import * as source from "../src/client.js";

export const isAsDeclared: typeof declared = source;

const { ApiError, ChatClient } = declared;

export async function oneReply(output: HTMLElement, signal: AbortSignal): Promise<string> {
  const chat = new ChatClient("https://chat.example.com/chat/", { headers: async () => ({ Authorization: "Bearer token" }) });
  const reply = chat.send("Hi", { model: "demo:demo", conversation: "", signal });
  for await (const event of reply) {
    if (event.type === "text") output.append(event.text);
    if (event.type === "reasoning") output.title += event.reasoning;
    if (event.type === "source") output.append(event.source.url);
    if (event.type === "end" && event.status === "interrupted") return event.error?.message ?? "";
    // @ts-expect-error Only a text event brings text.
    if (event.type === "start") output.append(event.reasoning);
  }
  return reply.position;
}

export async function byCallback(chat: declared.ChatClient, position: string): Promise<boolean> {
  const reply: declared.ReplyStream = chat.resume(position, { onConnectionChange: (error) => console.error(error), retries: 3 });
  const { status } = await reply.read(({ text }) => console.error(text));
  // @ts-expect-error There is no such status.
  if (status === "finished") return false;
  await reply.stop();
  return status === "completed";
}

export async function errors(chat: declared.ChatClient): Promise<number | null> {
  try {
    // @ts-expect-error A field that the API does not know.
    await chat.regenerate("id", { temperature: 1 }).read();
    // @ts-expect-error The answer has to be a stream.
    await chat.send("Hi", { stream: false }).read();
  } catch (error) {
    if (error instanceof ApiError && error.status === 429) return error.retryAfter;
  }
  return null;
}

// @ts-expect-error A client needs an address.
export const incomplete = new ChatClient();
