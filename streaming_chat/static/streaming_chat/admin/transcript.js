/** The transcript page: brings the message that was meant into view, below the bar that stays at the top, and offers what
 * is selected in a message to be redacted. */

const bar = document.querySelector(".transcript-bar");

// What is scrolled to comes to stand below the bar, however many lines it has.
function keepClear() {
  document.documentElement.style.scrollPaddingBlockStart = `${bar.offsetHeight + 8}px`;
}

if (bar) {
  keepClear();
  new ResizeObserver(keepClear).observe(bar);
}
if (!location.hash) document.querySelector(".transcript-focus")?.scrollIntoView({ block: "nearest" });

// The selection goes with the form, in the body of the request: an address would be in logs.
function sendSelection(event) {
  const form = event.target.closest(".transcript-redact");
  const message = form?.closest(".transcript-message");
  const selection = getSelection();
  if (!message || !message.contains(selection.anchorNode) || !message.contains(selection.focusNode)) return;
  form.querySelector("[name=text]")?.remove();
  const field = document.createElement("input");
  Object.assign(field, { type: "hidden", name: "text", value: selection.toString() });
  form.append(field);
}

document.addEventListener("submit", sendSelection);
