/** The transcript page: brings the message that was meant into view, below the bar that stays at the top. */

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
