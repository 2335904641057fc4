/* A chat in the terminal with OpenAI's SDK: the site is its server.

       npm install openai@6
       CHAT_TOKEN=sc_… node openai_sdk.mjs https://example.com/chat/

   The token is one of the chat's access tokens. Each line is a message; the whole chat is one conversation of its owner. */

import process from "node:process";
import { createInterface } from "node:readline";

import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}v1`, apiKey: process.env.CHAT_TOKEN });
const model = (await client.models.list()).data[0].id;
const messages = [];

for await (const line of createInterface({ input: process.stdin })) {
  messages.push({ role: "user", content: line.trim() });
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    const delta = chunk.choices[0].delta.content ?? "";
    process.stdout.write(delta);
    text += delta;
  }
  process.stdout.write("\n");
  messages.push({ role: "assistant", content: text });
}
