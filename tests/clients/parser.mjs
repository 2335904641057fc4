// Reads streams with eventsource-parser, byte by byte: a list of them in base64 is on standard input. Prints the events of each.
import { createParser } from "eventsource-parser";

function read(stream) {
  const events = [];
  const errors = [];
  const parser = createParser({ onEvent: (event) => events.push(event), onError: (error) => errors.push(error.message) });
  const decoder = new TextDecoder();
  for (const byte of stream) parser.feed(decoder.decode(Uint8Array.of(byte), { stream: true }));
  return { events, errors };
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const streams = JSON.parse(Buffer.concat(chunks).toString());
console.log(JSON.stringify(streams.map((stream) => read(Buffer.from(stream, "base64")))));
