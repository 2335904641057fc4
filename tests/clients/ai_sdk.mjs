/**
 * Runs chats of the AI SDK as a test tells it to: `ai_sdk.mjs PACKAGE OPTIONS`, with the options of DefaultChatTransport in JSON,
 * and the version that the client says it is, as `sdk`.
 *
 * A line on the input is a command in JSON, `{"tab", "do", …}`. Each is answered with a line, the state of that tab, as soon as
 * the command has been carried out: `wait` when the tab has the status and the text that it names.
 */

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

const PATIENCE = 20_000;
const [name, given] = process.argv.slice(2);
const { AbstractChat, DefaultChatTransport, validateUIMessages, ...sdk } = await import(name);
const { sdk: version, ...options } = JSON.parse(given);
const query = version ? `?sdk=${version}` : "";
const tabs = new Map();
// When a chat sends its answers by itself.
const AUTOMATIC = {
  approvals: sdk.lastAssistantMessageIsCompleteWithApprovalResponses,
  outputs: sdk.lastAssistantMessageIsCompleteWithToolCalls,
};

function makeTransport() {
  const chat = (id) => `${options.api}/${encodeURIComponent(id)}`;
  return new DefaultChatTransport({
    ...options,
    api: `${options.api}${query}`,
    prepareReconnectToStreamRequest: ({ id }) => ({ api: `${chat(id)}/stream${query}` }),
  });
}

/** What a framework's store is for a chat. */
class State {
  #values = { status: "ready", error: undefined, messages: [] };
  changed = new EventTarget();

  constructor(messages = []) {
    this.#values.messages = messages;
    for (const key of Object.keys(this.#values)) {
      Object.defineProperty(this, key, {
        get: () => this.#values[key],
        set: (value) => {
          this.#values[key] = value;
          this.changed.dispatchEvent(new Event("change"));
        },
      });
    }
  }

  pushMessage = (message) => (this.messages = [...this.messages, this.snapshot(message)]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.with(index, this.snapshot(message)));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(init) {
    super({
      ...init,
      transport: makeTransport(),
      state: new State(init.messages),
      sendAutomaticallyWhen: AUTOMATIC[init.automatic],
    });
  }

  get shown() {
    const { status, messages, error } = this;
    return { status, error: error?.message ?? null, messages: messages.map(shownMessage) };
  }

  /** @returns {Promise<void>} as soon as a condition is true of what is shown. */
  until(condition) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`timed out with ${JSON.stringify(this.shown)}`)), PATIENCE);
      const look = () => {
        if (!condition(this.shown)) return;
        clearTimeout(timer);
        this.state.changed.removeEventListener("change", look);
        resolve();
      };
      this.state.changed.addEventListener("change", look);
      look();
    });
  }
}

function shownMessage({ id, role, metadata, parts }) {
  const of = (type) => parts.filter((part) => part.type === type).map((part) => part.text).join("");
  const others = parts.filter((part) => !["text", "reasoning"].includes(part.type));
  const isDone = parts.every((part) => (part.state ?? "done") !== "streaming");
  return { id, role, metadata: metadata ?? null, text: of("text"), reasoning: of("reasoning"), others, isDone };
}

/** @returns {Promise<object[]>} the stored messages of a chat, which the AI SDK has found to be valid. */
async function storedMessages(id) {
  const { api, headers } = options;
  const response = await fetch(`${api}/${encodeURIComponent(id)}${query}`, { headers });
  if (!response.ok) throw new Error(await response.text());
  const { messages } = await response.json();
  return validateUIMessages({ messages });
}

const commands = {
  open: ({ tab, id, messages, automatic }) => tabs.set(tab, new Chat({ id, messages, automatic })),
  load: async ({ tab, id, automatic }) => tabs.set(tab, new Chat({ id, messages: await storedMessages(id), automatic })),
  send: ({ tab, text, ...rest }) => void tabs.get(tab).sendMessage({ text, ...rest.message }, rest.options),
  regenerate: ({ tab, ...rest }) => void tabs.get(tab).regenerate(rest),
  resume: ({ tab }) => tabs.get(tab).resumeStream(),
  follow: ({ tab }) => void tabs.get(tab).resumeStream(),
  approve: ({ tab, id, approved, reason }) => tabs.get(tab).addToolApprovalResponse({ id, approved, reason }),
  output: ({ tab, tool, call, output }) => tabs.get(tab).addToolOutput({ tool, toolCallId: call, output }),
  // What a client sends that has lost the response to its answers.
  repeat: ({ tab }) => void tabs.get(tab).sendMessage(),
  stop: ({ tab }) => tabs.get(tab).stop(),
  wait: ({ tab, status, text }) =>
    tabs.get(tab).until((shown) => {
      const last = shown.messages.at(-1);
      return (!status || shown.status === status) && (text == null || (last?.role === "assistant" && last.text === text));
    }),
};

async function versionOf() {
  const file = new URL("package.json", import.meta.resolve(name).replace(/dist\/.*/, ""));
  return JSON.parse(await readFile(file, "utf8")).version;
}

const write = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

write({ client: `ai ${await versionOf()}`, runtime: `Node.js ${process.versions.node}` });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    await commands[command.do](command);
    write(tabs.get(command.tab).shown);
  } catch (error) {
    write({ failure: String(error) });
  }
}
