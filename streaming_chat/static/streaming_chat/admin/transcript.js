/**
 * The transcript page: brings the message that was meant into view, and shows a reply as it is written.
 *
 * Text of a model is set by textContent only. Without this script the page shows what had been saved when it was asked for.
 */

const ENDINGS = ["done", "stopped", "interrupted", "failed"];

/** Follow the reply of this element until it has ended; a browser goes on by itself where a connection was lost. */
function follow(element) {
  const part = (name) => element.querySelector(`[data-live=${name}]`);
  const [text, reasoning, ended] = ["text", "reasoning", "ended"].map(part);
  const thought = reasoning.querySelector("pre");
  const source = new EventSource(element.dataset.follow);
  const take = ({ data }) => {
    const event = JSON.parse(data);
    text.append(event.text);
    if (event.reasoning) thought.append(event.reasoning);
    reasoning.hidden = !thought.textContent;
  };
  source.addEventListener("start", () => {
    // From its beginning: what the server had put here is part of that.
    for (const saved of element.parentElement.querySelectorAll(":scope > .transcript-text, :scope > details")) saved.hidden = true;
    text.textContent = thought.textContent = "";
    text.hidden = false;
  });
  source.addEventListener("reset", () => {
    text.textContent = thought.textContent = "";
  });
  source.addEventListener("reasoning", take);
  source.addEventListener("message", (event) => event.data !== "[DONE]" && take(event));
  for (const name of ENDINGS) {
    source.addEventListener(name, () => {
      source.close();
      ended.hidden = false;
      element.querySelector("form")?.remove();
      // What the page says of it is not so any more; how it ended is where the link leads.
      const message = element.closest("li");
      delete message.dataset.status;
      for (const stale of message.querySelectorAll(".transcript-status, .transcript-ending, :scope > .transcript-facts")) stale.remove();
      document.querySelector(".transcript-outcome[data-status=streaming]")?.remove();
    });
  }
}

if (!location.hash) document.querySelector(".transcript-focus")?.scrollIntoView({ block: "nearest" });
for (const element of document.querySelectorAll("[data-follow]")) follow(element);
