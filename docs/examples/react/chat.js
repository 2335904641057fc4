/** What the pages need of the app: the options of useChat, and the conversation of the address, `?chat=<uuid>`. */

import { DefaultChatTransport } from "ai";

// Where the site has mounted the app.
const root = "/chat";

/** @returns {Promise<Record<string, string>>} the CSRF token, asked for before each request: signing in changes it. */
async function headers() {
  const response = await fetch(`${root}/api/token`);
  return { "X-CSRFToken": (await response.json()).csrf_token };
}

// `?sdk=6`: ai 6 or later.
const transport = new DefaultChatTransport({
  api: `${root}/ai/chat`,
  headers,
  prepareReconnectToStreamRequest: ({ id }) => ({ api: `${chatAddress(id)}/stream?sdk=6` }),
  prepareSendMessagesRequest: ({ id, messages, trigger, messageId, body }) => ({
    api: `${root}/ai/chat?sdk=6`,
    body: { ...body, id, messages, trigger, messageId },
  }),
});

const chatAddress = (id) => `${root}/ai/chat/${encodeURIComponent(id)}`;

/** @returns {Promise<object>} the options of useChat, with the messages so far. A live reply is resumed, from its beginning. */
export async function chatOptions() {
  const id = new URLSearchParams(location.search).get("chat");
  if (!id) return { transport, id: crypto.randomUUID() };
  const response = await fetch(`${root}/api/conversations/${id}`);
  if (!response.ok) throw new Error((await response.json()).error.message);
  const { messages } = await response.json();
  const ended = messages.filter(({ status }) => status !== "streaming");
  return { transport, id, resume: true, messages: ended.map(uiMessage) };
}

/** Ends the reply, also where the site lets it go on without a reader. */
export async function stopReply({ id, stop }) {
  await fetch(`${chatAddress(id)}/stop`, { method: "POST", headers: await headers() });
  await stop();
}

/** Puts the conversation into the address: its id names the chat, too, so that a reload shows it again. */
export function rememberChat({ messages }) {
  const address = new URL(location.href);
  const conversation = messages.at(-1)?.metadata?.conversation;
  if (!conversation || address.searchParams.has("chat")) return;
  address.searchParams.set("chat", conversation);
  history.replaceState(null, "", address);
}

function uiMessage({ id, role, parts }) {
  const known = parts.filter(({ kind }) => kind === "text" || kind === "reasoning");
  return { id, role, parts: known.map(({ kind, text }) => ({ type: kind, text, state: "done" })) };
}
