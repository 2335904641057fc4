import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { ApiError, ChatClient, NetworkError } from "../src/client.js";
import { cut, frame, held, json, refusal, serve, stream } from "./api-server.mjs";

const START = frame(1, { text: "", message: "m", user_message: "u", conversation: "c", model: "demo:demo" }, "start");
// Five code points, but eight UTF-16 units.
const HELLO = "Hi 🎈🎈";
const HALF = START + frame(6, { text: HELLO });
const MORE = frame(7, { text: "!" });
const ENDING = { status: "completed", end_reason: "stop", can_continue: false, usage: null, length: 6, model: "demo:demo" };
const END = ending(ENDING);
const TOKEN = { headers: { Authorization: "Bearer token" } };

function ending({ ...data }, name = "done") {
  return `${frame("end", { text: "", ...data }, name)}data: [DONE]\n\n`;
}

/** Return a promise with the function that fulfils it. */
function gate() {
  let open = () => {};
  return Object.assign(new Promise((resolve) => (open = resolve)), { open: () => open() });
}

/** Read a reply to its ending; return its events. */
async function all(reply) {
  const events = [];
  for await (const event of reply) events.push(event);
  return events;
}

describe("a reply", { concurrency: true }, () => {
  test("is read as events, and knows what has arrived", async (t) => {
    const source = { url: "https://e.example", title: "E", id: "", text: "", origin: "provider" };
    const call = { id: "1", name: "look", arguments: "{}", complete: true };
    const others = frame(8, { text: "", reasoning: "?" }, "reasoning") + frame(9, { text: "", tool_call: call }, "tool_call");
    const { root } = await serve(t, stream(HALF, MORE, others, frame(10, { text: "", source }, "source"), END));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    const events = await all(reply);
    assert.deepEqual(events.map(({ type }) => type), ["start", "text", "text", "reasoning", "tool_call", "source", "end"]);
    assert.equal(events.map(({ text }) => text).join(""), `${HELLO}!`);
    const { id, conversation, userMessage, model, text, reasoning, toolCalls, sources, position, ending: end } = reply;
    assert.deepEqual([id, conversation, userMessage, model, position], ["m", "c", "u", "demo:demo", "m/end"]);
    assert.deepEqual({ text, reasoning, toolCalls, sources }, { text: `${HELLO}!`, reasoning: "?", toolCalls: [call], sources: [source] });
    assert.deepEqual(end, { text: "", ...ENDING });
  });

  test("is read by a callback", async (t) => {
    const { root } = await serve(t, stream(HALF, MORE, END));
    const texts = [];
    const { status } = await new ChatClient(root, TOKEN).send("Hi").read(({ text }) => texts.push(text));
    assert.equal(status, "completed");
    assert.deepEqual(texts, ["", HELLO, "!", ""]);
  });

  test("is asked for before it is read", async (t) => {
    const sent = gate();
    const { root, requests } = await serve(t, (response) => (sent.open(), stream(HALF, MORE, END)(response)));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    await sent;
    assert.equal(requests[0].body.content, "Hi");
    assert.equal((await reply.read()).status, "completed");
  });

  test("that went wrong says how it ended, and does not throw", async (t) => {
    const error = { code: "provider_unavailable", message: "The model is away.", retryable: true };
    const failed = { ...ENDING, status: "failed", end_reason: "", length: 0, error };
    const { root } = await serve(t, stream(START, ending(failed, "failed")));
    const { status, error: reason } = await new ChatClient(root, TOKEN).send("Hi").read();
    assert.deepEqual([status, reason], ["failed", error]);
  });

  test("that is written anew begins again", async (t) => {
    const { root } = await serve(t, stream(HALF, frame(0, { text: "" }, "reset"), START, frame(4, { text: "Bye" }), END));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    const types = (await all(reply)).map(({ type }) => type);
    assert.deepEqual(types, ["start", "text", "reset", "start", "text", "end"]);
    assert.equal(reply.text, "Bye");
  });

  test("is left by a break, which closes the connection", async (t) => {
    const { root, requests } = await serve(t, held(HALF, gate()));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    for await (const { type } of reply) if (type === "text") break;
    await requests[0].closed;
    assert.deepEqual([reply.position, reply.ending], ["m/6", null]);
  });

  test("is left by the signal, whose reason is thrown", async (t) => {
    const { root, requests } = await serve(t, held(HALF, gate()));
    const abort = new AbortController();
    const reason = new Error("left");
    const onEvent = ({ type }) => type === "text" && abort.abort(reason);
    await assert.rejects(new ChatClient(root, TOKEN).send("Hi", { signal: abort.signal }).read(onEvent), reason);
    await requests[0].closed;
  });
});

describe("a connection", { concurrency: true }, () => {
  test("that is cut at any byte continues at the position in code points", async (t) => {
    const bytes = Buffer.from(HALF + MORE);
    const [firstText, lastByte] = [START.length + 1, bytes.length];
    for (const at of [START.length - 1, START.length, firstText, HALF.length - 1, HALF.length, HALF.length + 5, lastByte]) {
      const rests = [START + frame(6, { text: HELLO }) + MORE, frame(6, { text: HELLO }) + MORE, MORE, ""];
      const seen = [START.length, HALF.length, lastByte].filter((end) => at >= end).length;
      const { root, requests } = await serve(t, cut(HALF + MORE, at), stream(rests[seen], END));
      const reply = new ChatClient(root, TOKEN).send("Hi");
      const events = await all(reply);
      assert.equal(events.map(({ text }) => text).join(""), `${HELLO}!`);
      const [first, second] = requests;
      if (seen) assert.equal(second.path, `/chat/api/messages/m/events?after=m/${[0, 1, 6, 7][seen]}`);
      else assert.deepEqual([second.path, second.body], [first.path, first.body]);
    }
  });

  test("that ends without an ending is resumed", async (t) => {
    const { root, requests } = await serve(t, stream(HALF), stream(MORE, END));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    assert.equal((await reply.read()).status, "completed");
    assert.deepEqual([reply.text, requests.length], [`${HELLO}!`, 2]);
  });

  test("is repeated after as long as the server says", async (t) => {
    const { root, requests } = await serve(t, refusal(503, "draining", { "Retry-After": "2" }), stream(HALF, MORE, END));
    const began = performance.now();
    const changes = [];
    await new ChatClient(root, TOKEN).send("Hi", { onConnectionChange: (error) => changes.push(error) }).read();
    assert.ok(performance.now() - began >= 2000);
    assert.deepEqual([changes[0].code, changes[0].retryAfter, changes[1]], ["draining", 2, null]);
    assert.deepEqual(requests[0].body, requests[1].body);
  });

  test("that is silent for too long counts as lost", async (t) => {
    const { root } = await serve(t, held(HALF, gate()), stream(MORE, END));
    const reply = new ChatClient(root, { ...TOKEN, silence: 2 }).send("Hi");
    await reply.read();
    assert.equal(reply.text, `${HELLO}!`);
  });

  test("that fails too often is an error", async (t) => {
    const away = refusal(503, "draining");
    const { root, requests } = await serve(t, cut("", 0), away);
    await assert.rejects(new ChatClient(root, TOKEN).send("Hi", { retries: 1 }).read(), { name: "ApiError", code: "draining" });
    assert.equal(requests.length, 2);
    await assert.rejects(new ChatClient("http://127.0.0.1:1/", TOKEN).send("Hi", { retries: 0 }).read(), NetworkError);
  });
});

describe("a refused request", { concurrency: true }, () => {
  test("throws, with the seconds to wait", async (t) => {
    const { root, requests } = await serve(t, refusal(429, "quota_exceeded", { "Retry-After": "60" }));
    const refused = { name: "ApiError", status: 429, code: "quota_exceeded", retryAfter: 60 };
    await assert.rejects(new ChatClient(root, TOKEN).send("Hi").read(), refused);
    assert.equal(requests.length, 1);
  });

  test("also throws if the answer is not the API's", async (t) => {
    const { root } = await serve(t, (response) => response.writeHead(404).end("<h1>Not found</h1>"));
    const error = await new ChatClient(root, TOKEN).send("Hi").read().catch((thrown) => thrown);
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.code], [404, "unexpected"]);
  });
});

describe("requests", { concurrency: true }, () => {
  test("have the fields of the API, and a client_id", async (t) => {
    const whole = stream(HALF, MORE, END);
    const { root, requests } = await serve(t, whole, whole, whole, whole);
    const chat = new ChatClient(new URL(root.slice(0, -1)), TOKEN);
    await chat.send("Hi", { model: "demo:demo", parent: null, retries: 3 }).read();
    await chat.send("Hi", { conversation: "c", client_id: "mine" }).read();
    await chat.regenerate("m", { effort: "low" }).read();
    await chat.continue("m").read();
    const paths = ["/chat/api/messages", "/chat/api/conversations/c/messages", "/chat/api/messages/m/regenerate", "/chat/api/messages/m/continue"];
    assert.deepEqual(requests.map(({ path }) => path), paths);
    const [first, second, third, fourth] = requests.map(({ body }) => body);
    assert.match(first.client_id, /^[0-9a-f]{32}$/);
    assert.deepEqual({ ...first, client_id: "" }, { client_id: "", content: "Hi", model: "demo:demo", parent: null });
    assert.deepEqual(second, { client_id: "mine", content: "Hi" });
    assert.deepEqual([third.effort, Object.keys(fourth)], ["low", ["client_id"]]);
  });

  test("have the site's headers, which may change, and no CSRF token", async (t) => {
    const { root, requests } = await serve(t, stream(HALF), stream(MORE, END), json({ results: [] }));
    let calls = 0;
    const chat = new ChatClient(root, { headers: async () => ({ Authorization: `Bearer ${(calls += 1)}` }) });
    await chat.send("Hi").read();
    assert.deepEqual(await chat.request("GET", "api/conversations"), { results: [] });
    assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer 1", "Bearer 2", "Bearer 3"]);
    assert.ok(requests.every(({ headers }) => !("x-csrftoken" in headers) && !("last-event-id" in headers)));
  });

  test("with cookies have the CSRF token, which is renewed when it has expired", async (t) => {
    const whole = stream(HALF, MORE, END);
    const tokens = ["one", "one", "two"].map((token) => json({ csrf_token: token }));
    const { root, requests } = await serve(t, tokens[0], tokens[1], whole, refusal(403, "csrf_failed"), tokens[2], whole);
    const chat = new ChatClient(root, { csrfHeader: "X-Site-Token" });
    await chat.send("Hi").read();
    await chat.send("Again").read();
    const asked = requests.map(({ method, path, headers }) => `${method} ${path.slice(10)} ${headers["x-site-token"]}`);
    const first = ["GET token undefined", "POST token one", "POST messages one"];
    assert.deepEqual(asked, [...first, "POST messages one", "GET token undefined", "POST messages two"]);
  });

  test("follow a reply from its beginning or its position, and after its ending", async (t) => {
    const message = { id: "m", text: HELLO, ...ENDING, status: "stopped", error: null };
    const gone = (response) => response.writeHead(204).end();
    const { root, requests } = await serve(t, stream(HALF, MORE, END), stream(MORE, END), gone, json(message));
    const chat = new ChatClient(root, TOKEN);
    const followed = chat.follow("m");
    assert.equal(followed.id, "m");
    await followed.read();
    const resumed = chat.resume("m/6");
    await resumed.read();
    assert.deepEqual([followed.text, resumed.text], [`${HELLO}!`, "!"]);
    assert.equal((await chat.resume("m/end").read()).status, "stopped");
    assert.equal(requests.at(-1).path, "/chat/api/messages/m");
  });
});

describe("a stop", { concurrency: true }, () => {
  const stopped = (length) => ending({ ...ENDING, status: "stopped", end_reason: "user", length }, "stopped");

  /** Stop a reply after its first text, whose stream then goes on like this. Returns it, its events and the stop's request. */
  async function stopAt(t, rest, { refused = false } = {}) {
    const asked = gate();
    const stop = (response) => {
      asked.open();
      return refused ? refusal(503, "draining")(response) : json({ id: "m", status: "stopped" })(response);
    };
    const { root, requests } = await serve(t, held(HALF, asked, rest), stop);
    const reply = new ChatClient(root, TOKEN).send("Hi");
    const events = [];
    let stopping;
    await reply.read((event) => {
      events.push(event.type);
      if (event.type === "text") stopping ??= reply.stop().catch((error) => error);
    });
    return { reply, events, request: requests[1], answer: await stopping };
  }

  test("ends a reply where it was read, whatever comes meanwhile", async (t) => {
    const again = frame(0, { text: "" }, "reset") + HALF;
    const { reply, events, request, answer } = await stopAt(t, MORE + again + stopped(5));
    assert.deepEqual([request.path, request.body], ["/chat/api/messages/m/stop", { position: "m/6" }]);
    assert.deepEqual([events, reply.text], [["start", "text", "end"], HELLO]);
    assert.deepEqual([reply.ending.status, answer.status], ["stopped", "stopped"]);
  });

  test("that comes too late leaves the whole reply", async (t) => {
    const { reply, events } = await stopAt(t, MORE + END);
    assert.deepEqual([events, reply.text], [["start", "text", "text", "end"], `${HELLO}!`]);
  });

  test("that fails leaves the whole reply, and throws", async (t) => {
    const { reply, answer } = await stopAt(t, MORE + END, { refused: true });
    assert.deepEqual([reply.text, answer.code], [`${HELLO}!`, "draining"]);
  });

  test("before the reply has a name waits for it", async (t) => {
    const [asked, named] = [gate(), gate()];
    const begin = async (response) => (await named, held(START, asked, stopped(0))(response));
    const { root, requests } = await serve(t, begin, (response) => (asked.open(), json({ id: "m" })(response)));
    const reply = new ChatClient(root, TOKEN).send("Hi");
    const stopping = reply.stop();
    named.open();
    await Promise.all([stopping, reply.read()]);
    assert.deepEqual([requests[1].body, reply.ending.status], [{ position: "m/1" }, "stopped"]);
  });

  test("of a reply by its id ends it where the server is", async (t) => {
    const { root, requests } = await serve(t, json({ id: "m", status: "stopped" }));
    assert.equal((await new ChatClient(root, TOKEN).stop("m")).status, "stopped");
    assert.deepEqual([requests[0].path, requests[0].body], ["/chat/api/messages/m/stop", {}]);
  });
});
