// OpenAI's SDK for JavaScript against the API; tests/test_openai_js.py starts it and reads what it prints, as JSON.
//
//     node openai.mjs PACKAGE BASE_URL API_KEY
//
// Each step names itself in the header X-Step, by which the test knows its connection.

import process from "node:process";

const [, , name, baseURL, apiKey] = process.argv;
const { default: OpenAI } = await import(name);
const { VERSION } = await import(`${name}/version`);
const client = new OpenAI({ baseURL, apiKey });
const model = "openai:any";
const seen = { version: VERSION, node: process.version };
const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } }];

function complete(messages, options = {}) {
  const headers = { "X-Step": messages.at(-1).content };
  return client.chat.completions.create({ model, messages, ...options }, { headers });
}

const ask = (content, options) => complete([user(content)], options);

async function read(stream) {
  const found = { text: "", reasoning: "", usage: null, finish: null };
  for await (const { choices, usage } of stream) {
    found.text += choices[0]?.delta.content ?? "";
    found.reasoning += choices[0]?.delta.reasoning_content ?? "";
    found.finish ??= choices[0]?.finish_reason ?? null;
    found.usage ??= usage?.total_tokens ?? null;
  }
  return found;
}

async function errorOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { name: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
}

seen.models = (await client.models.list()).data.map((each) => each.id);
const whole = await ask("whole");
seen.whole = { text: whole.choices[0].message.content, usage: whole.usage.total_tokens };
seen.streamed = await read(await ask("streamed", { stream: true, stream_options: { include_usage: true } }));
seen.reasoning = await read(await ask("reasoning", { stream: true }));
seen.wholeReasoning = (await ask("reasoning")).choices[0].message.reasoning_content;

const helper = client.chat.completions.stream({
  model,
  messages: [user("helper")],
  stream_options: { include_usage: true },
});
seen.helper = { text: await helper.finalContent(), usage: (await helper.totalUsage()).total_tokens };

const { data, response } = await ask("raw").withResponse();
seen.raw = [response.status, response.headers.get("content-type"), data.choices[0].message.content];
const raw = await ask("raw stream", { stream: true }).asResponse();
seen.rawStream = [raw.status, (await raw.text()).trim().split("\n").at(-1)];

// The client runs its tools, and sends the result.
const called = (await ask("weather?", { tools })).choices[0].message;
const [call] = called.tool_calls;
seen.tool = call.function;
const result = { role: "tool", tool_call_id: call.id, content: "Sunny, 25 °C" };
const answered = await client.chat.completions.create({
  model,
  messages: [user("weather?"), called, result],
  tools,
});
seen.answered = answered.choices[0].message.content;
const thanked = await complete([user("weather?"), called, result, answered.choices[0].message, user("thanks")], { tools });
seen.thanked = thanked.choices[0].message.content;
const calls = client.chat.completions.stream({ model, messages: [user("calls")], tools });
seen.calls = (await calls.finalChatCompletion()).choices[0].message.tool_calls.map((each) => each.function.arguments);

seen.before = await errorOf(ask("refused", { stream: true }));
seen.beforeWhole = await errorOf(ask("refused"));
seen.rejected = await errorOf(ask("rejected"));
seen.midStream = await errorOf(ask("broken", { stream: true }).then(read));
seen.unknown = await errorOf(ask("unknown", { model: "openai:" }));
seen.parameter = await errorOf(ask("parameter", { temperature: 1 }));

// Leaving the loop closes the connection, which stops the reply.
for await (const chunk of await ask("left", { stream: true })) if (chunk.choices[0].delta.content) break;

// One conversation, and a branch of it.
let messages = [];
for (const content of ["one", "two", "three", "four", "five"]) {
  messages.push(user(content));
  messages.push(assistant((await read(await complete(messages, { stream: true }))).text));
}
messages = [...messages.slice(0, 4), user("3")];
await complete(messages);

// Ends and beginnings of the same connection.
for (const [step, stream] of [["first", true], ["second", true], ["third", false], ["fourth", true], ["fifth", false]]) {
  if (stream) await read(await ask(step, { stream }));
  else await ask(step);
}

process.stdout.write(JSON.stringify(seen));
