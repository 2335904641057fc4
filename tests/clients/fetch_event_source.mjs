// Sends one message with @microsoft/fetch-event-source, which is written for browsers. Prints the events.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

const { url, headers, body } = JSON.parse(process.argv[2]);
const events = [];
let opened = 0;
await fetchEventSource(url, {
  method: "POST",
  headers: { ...headers, "Content-Type": "application/json" },
  body: JSON.stringify(body),
  onopen: () => void opened++,
  onmessage: (event) => void events.push(event),
});
console.log(JSON.stringify({ opened, events }));
