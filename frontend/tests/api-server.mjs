/** An HTTP server that answers as the app's API does: with the answers that a test gives it, in the order of the requests. */

import { createServer } from "node:http";
import { text } from "node:stream/consumers";

/**
 * Serve until the test ends. Returns the API's address, and the requests so far.
 *
 * @param {import("node:test").TestContext} t
 * @param {((response: import("node:http").ServerResponse) => unknown)[]} answers
 */
export async function serve(t, ...answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const { method, url, headers } = request;
    requests.push({ method, path: url, headers, body: body && JSON.parse(body), closed: new Promise((resolve) => response.on("close", resolve)) });
    await answers.shift()(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.closeAllConnections(), server.close()));
  return { root: `http://127.0.0.1:${server.address().port}/chat/`, requests };
}

/** Answer with JSON. */
export function json(body, { status = 200, headers = {} } = {}) {
  return (response) => response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
}

export function refusal(status, code, headers = {}) {
  return json({ error: { code, message: `${code}.`, retryable: true } }, { status, headers });
}

/** Answer with an event stream that ends in good form. */
export function stream(...frames) {
  return (response) => begin(response).end(frames.join(""));
}

/** Answer with so many bytes of a stream, and reset the connection. */
export function cut(frames, bytes = Infinity) {
  return (response) => begin(response).write(Buffer.from(frames).subarray(0, bytes), () => response.socket.destroy());
}

/** Answer with the beginning of a stream, and with the rest when the promise is fulfilled. */
export function held(first, promise, rest = "") {
  return async (response) => {
    begin(response).write(first);
    await promise;
    response.end(rest);
  };
}

function begin(response) {
  return response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
}

/** Return the frame of an event, as encoders/simple.py writes it; `position` is what its id says after the slash. */
export function frame(position, data, event = "") {
  const ascii = JSON.stringify(data).replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `id: m/${position}\n${event && `event: ${event}\n`}data: ${ascii}\n\n`;
}
