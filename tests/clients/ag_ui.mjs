// Runs a thread with HttpAgent of @ag-ui/client: one message after another. Prints the messages, and of each run the events and
// how the client says that it finished.
import { HttpAgent } from "@ag-ui/client";

const { texts, ...config } = JSON.parse(process.argv[2]);
const agent = new HttpAgent(config);
const runs = [];
for (const text of texts) {
  agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  const run = { events: [] };
  runs.push(run);
  const seen = {
    onEvent: ({ event }) => void run.events.push(event),
    onRunFinishedEvent: ({ outcome, pendingToolCallIds }) => void (run.finished = { outcome, pendingToolCallIds }),
  };
  try {
    await agent.runAgent({}, seen);
  } catch (error) {
    run.error = error.message;
  }
}
console.log(JSON.stringify({ thread: agent.threadId, messages: agent.messages, runs }));
