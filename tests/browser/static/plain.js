// What a few lines written in a hurry do: no event names, no buffer, no resuming.
const form = document.querySelector("form");
const pre = document.querySelector("pre");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const response = await fetch("/chat/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
    body: JSON.stringify({ messages: [{ role: "user", content: "Hello" }] }),
  });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    for (const line of decoder.decode(value).split("\n")) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") pre.textContent += JSON.parse(line.slice(6)).text;
    }
  }
  document.title = "Done";
});
