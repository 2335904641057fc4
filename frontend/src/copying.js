/** Copying to the clipboard, which says that it has happened. */

const SAID_MILLISECONDS = 2000;

/** Whether there is a clipboard: not on pages that came over plain HTTP. */
export function canCopy() {
  return Boolean(navigator.clipboard);
}

/** Copy a text when the button is pressed, and say so on the button for a moment. text(): what to copy. */
export function copyOn(button, words, text) {
  const label = button.getAttribute("aria-label");
  let timer;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      // The browser or its user did not allow it: nothing was copied, so nothing is said.
      return;
    }
    button.setAttribute("aria-label", words.say("copied"));
    button.dataset.done = "";
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.setAttribute("aria-label", label);
      delete button.dataset.done;
    }, SAID_MILLISECONDS);
  });
}
