// A chat with EventSource, which can only GET: the message is sent with fetch, and EventSource follows its reply.
const api = "/chat/api";
const form = document.querySelector("form");
const output = document.querySelector("output");
const status = document.querySelector("[role=status]");

// after: an id from the stream, or a position. EventSource reconnects by itself, and then sends the id of the last event.
function follow(message, after = 0) {
  const source = new EventSource(`${api}/messages/${message}/events?after=${after}`);
  let last = after;
  source.onmessage = (event) => {
    last = event.lastEventId;
    if (event.data !== "[DONE]") output.append(JSON.parse(event.data).text);
  };
  source.addEventListener("reset", () => output.replaceChildren());
  for (const name of ["done", "stopped", "interrupted", "failed"]) {
    source.addEventListener(name, (event) => {
      source.close();
      status.textContent = JSON.parse(event.data).error?.message ?? name;
    });
  }
  source.onerror = () => {
    // It has given up, because the server answered with an error, for example while it restarts.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000, message, last);
  };
}

async function send(content) {
  const { csrf_token } = await (await fetch(`${api}/token`)).json();
  const response = await fetch(`${api}/messages`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrf_token },
    body: JSON.stringify({ content, client_id: crypto.randomUUID() }),
  });
  if (!response.ok) throw new Error((await response.json()).error.message);
  // The first event names the reply. It continues without this request, and the page can be loaded again.
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  while (!received.includes("\n\n")) received += (await reader.read()).value;
  const { message } = JSON.parse(/^data: (.*)$/m.exec(received)[1]);
  history.replaceState(null, "", `#${message}`);
  follow(message);
  reader.cancel();
}

// A page that is loaded again has the text so far, and follows from there.
async function resume(message) {
  const { text, position, status: state } = await (await fetch(`${api}/messages/${message}`)).json();
  output.textContent = text;
  if (state === "streaming") follow(message, position);
  else status.textContent = state;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  output.replaceChildren();
  status.textContent = "";
  send(form.elements.content.value).catch((error) => (status.textContent = error.message));
});
if (location.hash) resume(location.hash.slice(1));
