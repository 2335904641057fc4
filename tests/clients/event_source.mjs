// Follows a reply with the package eventsource, until its ending. Prints the events.
import { EventSource } from "eventsource";

const { url, headers } = JSON.parse(process.argv[2]);
const events = [];
const withHeaders = (address, init) => fetch(address, { ...init, headers: { ...init.headers, ...headers } });
const source = new EventSource(url, { fetch: withHeaders });
const endings = ["done", "stopped", "interrupted", "failed"];
for (const name of ["message", "start", "reset", "reasoning", ...endings]) {
  source.addEventListener(name, ({ type, data, lastEventId }) => {
    events.push({ type, data, lastEventId });
    if (!endings.includes(type)) return;
    source.close();
    console.log(JSON.stringify({ events }));
  });
}
