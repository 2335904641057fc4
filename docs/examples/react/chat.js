/** What the pages need of the app: the options of useChat for the chat that the address names, `?chat=<id>`. */

import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";

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
  const address = new URL(location.href);
  const known = address.searchParams.get("chat");
  const id = known ?? crypto.randomUUID();
  address.searchParams.set("chat", id);
  history.replaceState(null, "", address);
  const messages = known ? await storedMessages(id) : [];
  // The answers to a reply's tool calls are sent once there is one to each of them.
  const sendAutomaticallyWhen = lastAssistantMessageIsCompleteWithApprovalResponses;
  return { transport, id, resume: Boolean(known), messages, sendAutomaticallyWhen };
}

async function storedMessages(id) {
  const response = await fetch(`${chatAddress(id)}?sdk=6`);
  // Nothing has been sent yet.
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).messages;
}

/** @returns {boolean} whether the last reply waits for an answer to a tool call: it has no stream, and has not ended. */
export function isWaiting({ messages }) {
  return messages.at(-1)?.metadata?.status === "waiting";
}

/** Repeats a request that has failed: sends the same answers to tool calls again, or asks for another reply. */
export async function tryAgain(chat) {
  await (isWaiting(chat) ? chat.sendMessage() : chat.regenerate());
}

/** Ends the reply, also where the site lets it go on without a reader, or where it waits. */
export async function stopReply({ id, messages, stop, setMessages }) {
  await fetch(`${chatAddress(id)}/stop`, { method: "POST", headers: await headers() });
  await stop();
  if (isWaiting({ messages })) setMessages(await storedMessages(id));
}
