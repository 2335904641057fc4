// Runs the tools of the site that are the client's, with OpenAI's SDK for JavaScript, and says thanks. Prints what the model says.
//
//     node openai_tools.mjs PACKAGE BASE_URL API_KEY
import process from "node:process";

const [, , name, baseURL, apiKey] = process.argv;
const { default: OpenAI } = await import(name);
const client = new OpenAI({ baseURL, apiKey });
const messages = [];
const said = [];

/** Streams the replies to a message, until the model calls no tool. */
async function ask(content) {
  messages.push({ role: "user", content });
  while (messages.at(-1).role !== "assistant") {
    const message = await client.chat.completions.stream({ model: "openai:any", messages }).finalMessage();
    said.push(message.content);
    messages.push(message);
    for (const call of message.tool_calls ?? []) messages.push({ role: "tool", tool_call_id: call.id, content: "Köln" });
  }
}

await ask("Where am I?");
await ask("Thanks");
process.stdout.write(JSON.stringify(said));
