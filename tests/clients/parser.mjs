// Reads a whole stream from standard input with eventsource-parser, in pieces of one byte. Prints the events.
import { createParser } from "eventsource-parser";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const events = [];
const errors = [];
const parser = createParser({ onEvent: (event) => events.push(event), onError: (error) => errors.push(error.message) });
const decoder = new TextDecoder();
for (const byte of Buffer.concat(chunks)) parser.feed(decoder.decode(Uint8Array.of(byte), { stream: true }));
console.log(JSON.stringify({ events, errors }));
