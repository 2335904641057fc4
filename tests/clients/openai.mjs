// OpenAI's SDK for JavaScript against the API; tests/test_openai_js.py starts it and reads what it prints, as JSON.

import process from "node:process";

import OpenAI from "openai";
import { VERSION } from "openai/version";

const [, , baseURL, apiKey] = process.argv;
const client = new OpenAI({ baseURL, apiKey });
const model = "openai:any";
const seen = { version: VERSION };

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  return text;
}

async function errorOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
}

const ask = (content, options = {}) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }], ...options });

seen.models = (await client.models.list()).data.map((each) => each.id);
seen.whole = (await ask("whole")).choices[0].message.content;
seen.streamed = await textOf(await ask("streamed", { stream: true }));

// It closes the connection as soon as it has read [DONE].
const helper = client.chat.completions.stream({
  model,
  messages: [{ role: "user", content: "helper" }],
  stream_options: { include_usage: true },
});
seen.helper = await helper.finalContent();
seen.usage = (await helper.totalUsage()).total_tokens;

const { data, response } = await ask("raw").withResponse();
seen.raw = [response.status, data.choices[0].message.content];

const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];
seen.tool = (await ask("tool", { tools })).choices[0].message.tool_calls[0].function;

seen.before = await errorOf(ask("refused", { stream: true }));
seen.midStream = await errorOf(ask("broken", { stream: true }).then(textOf));
seen.unknown = await errorOf(ask("unknown", { model: "openai:" }));

const messages = [];
for (const content of ["one", "two", "three", "four", "five"]) {
  messages.push({ role: "user", content });
  const text = await textOf(await client.chat.completions.create({ model, messages, stream: true }));
  messages.push({ role: "assistant", content: text });
}

process.stdout.write(JSON.stringify(seen));
