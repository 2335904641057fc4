// Beside this file: client.js, copied from the package's static/streaming_chat/.
import { ChatClient } from "./client.js";

const form = document.querySelector("form");
const output = document.querySelector("pre");
const status = document.querySelector("[role=status]");
const { chat: root, token } = form.dataset;
const chat = new ChatClient(root, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
let reply = null;

async function show(next) {
  reply = next;
  status.textContent = "Writing…";
  form.elements.stop.hidden = false;
  try {
    for await (const event of reply) {
      output.textContent = reply.text;
      // After a reload, the page follows the reply again.
      if (event.type === "start") sessionStorage.reply = reply.id;
    }
    status.textContent = reply.ending.error?.message ?? reply.ending.status;
  } catch (error) {
    status.textContent = error.retryAfter ? `${error.message} Try again in ${error.retryAfter} s.` : error.message;
  }
  form.elements.stop.hidden = true;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(chat.send(form.elements.content.value, { conversation: reply?.conversation }));
  form.elements.content.value = "";
});
form.elements.stop.addEventListener("click", () => reply.stop());
if (sessionStorage.reply) show(chat.follow(sessionStorage.reply));
