// The loop of most tutorials: it appends the `text` of each line that begins with `data: `, and knows nothing else.
const form = document.querySelector("form");
const pre = document.querySelector("pre");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { csrf_token } = await (await fetch("/chat/api/token")).json();
  const response = await fetch("/chat/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": csrf_token },
    body: JSON.stringify({ messages: [{ role: "user", content: form.elements.content.value }] }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const line of value.split("\n")) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") pre.append(JSON.parse(line.slice(6)).text);
    }
  }
  document.title = "Done";
});
