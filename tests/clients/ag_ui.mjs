// Runs a thread with HttpAgent of @ag-ui/client: one message after another. Prints the messages, and of each run the events and
// how the client says that it finished.
//
// In place of a text there may be {"resume": {status, payload}}, which answers all interrupts so, or {"output": text}, which is
// what the client's tools return.
import { buildResumeArray, HttpAgent } from "@ag-ui/client";

const { texts, ...config } = JSON.parse(process.argv[2]);
const agent = new HttpAgent(config);
const runs = [];
let pending = [];

function begin(said) {
  if (said.resume) {
    const responses = Object.fromEntries(agent.pendingInterrupts.map(({ id }) => [id, said.resume]));
    return { resume: buildResumeArray(agent.pendingInterrupts, responses) };
  }
  if (said.output) {
    const result = (toolCallId) => ({ id: crypto.randomUUID(), role: "tool", toolCallId, content: said.output });
    pending.forEach((id) => agent.addMessage(result(id)));
  } else {
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content: said });
  }
  return {};
}

for (const said of texts) {
  const run = { events: [] };
  runs.push(run);
  const seen = {
    onEvent: ({ event }) => void run.events.push(event),
    onRunFinishedEvent: ({ outcome, interrupts, pendingToolCallIds }) => {
      pending = pendingToolCallIds ?? [];
      run.finished = { outcome, interrupts, pendingToolCallIds };
    },
  };
  try {
    await agent.runAgent(begin(said), seen);
  } catch (error) {
    run.error = error.message;
  }
}
console.log(JSON.stringify({ thread: agent.threadId, messages: agent.messages, runs }));
