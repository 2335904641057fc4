/** Shows one reply in a page like the chat's, by the built renderer, and counts the time of the main thread until nothing more happens. */

import { MarkdownDocument } from "./markdown.js";

const texts = { copy: "Copy", copied: "Copied", code: "Code", table: "Table", image: "[Image: {alt} {address}]", done: "Done", not_done: "Open", format: "Format", not_formatted: "Not formatted" };
const QUIET_MILLISECONDS = 400;

let longest = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
}).observe({ type: "longtask" });

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Wait until the content has not changed for a while. */
async function settled(element) {
  let changed = performance.now();
  const observer = new MutationObserver(() => (changed = performance.now()));
  observer.observe(element, { childList: true, subtree: true, characterData: true });
  while (performance.now() - changed < QUIET_MILLISECONDS) await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
}

function place() {
  const scroll = document.querySelector(".sc-scroll");
  const prose = document.createElement("div");
  prose.className = "sc-prose";
  document.querySelector(".sc-reply").replaceChildren(prose);
  // As auto-scroll.js does.
  new ResizeObserver(() => (scroll.scrollTop = scroll.scrollHeight)).observe(prose);
  return prose;
}

/** Open a finished reply, or stream it in `deltas`, one a frame; returns the longest task in milliseconds, 0 for none over 50. */
window.show = async (text, deltas) => {
  await settled(document.body);
  // Says in a trace which process this page is in.
  performance.mark("show");
  longest = 0;
  const prose = place();
  const shown = new MarkdownDocument(prose, { texts, highlighter: "/highlighter.js", typesetter: "/typesetter.js" });
  for (let delta = 1; delta < deltas; delta += 1) {
    shown.draw(text.slice(0, Math.ceil((text.length * delta) / deltas)), { isComplete: false });
    await frame();
  }
  shown.draw(text, { isComplete: true });
  await settled(prose);
  return { longest, characters: prose.textContent.length };
};
document.body.dataset.ready = "yes";
