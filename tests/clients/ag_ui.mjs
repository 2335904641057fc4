// Runs a thread with HttpAgent of @ag-ui/client: one message after another. Prints the messages and the events of each run.
import { HttpAgent } from "@ag-ui/client";

const { url, headers, texts } = JSON.parse(process.argv[2]);
const agent = new HttpAgent({ url, headers });
const runs = [];
for (const text of texts) {
  agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  const events = [];
  const seen = { onEvent: ({ event }) => void events.push(event) };
  try {
    await agent.runAgent({}, seen);
    runs.push({ events });
  } catch (error) {
    runs.push({ events, error: error.message });
  }
}
console.log(JSON.stringify({ thread: agent.threadId, messages: agent.messages, runs }));
