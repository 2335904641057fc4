/** Two ways to show a growing text: the app's, and reading all of it again at each delta. */

import MarkdownIt from "markdown-it";

import { MarkdownDocument } from "../frontend/src/markdown/document.js";
import { clean } from "../frontend/src/markdown/sanitizer.js";

const texts = { copy: "Copy", copied: "Copied", code: "Code", table: "Table", image: "[Image: {alt} {address}]", done: "Done", not_done: "Open", format: "Format", not_formatted: "Not formatted" };
const parser = new MarkdownIt({ breaks: true });

const WAYS = {
  blocks(element) {
    const shown = new MarkdownDocument(element, { texts });
    return (text, ended) => shown.draw(text, { isComplete: ended });
  },
  all(element) {
    return (text) => element.replaceChildren(clean(parser.render(text)));
  },
};

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

let total = 0;
let longest = 0;

/** Run a piece of work on its own, with the style and layout that it causes, and count its time. */
function count(work) {
  const began = performance.now();
  work();
  // Reading a height makes style and layout happen now.
  document.body.getBoundingClientRect();
  const took = performance.now() - began;
  total += took;
  longest = Math.max(longest, took);
}

// What is left out of one draw follows by a timer, and counts as well.
const later = setTimeout;
window.setTimeout = (work, wait) => later(() => count(work), wait);

/**
 * Show text in so many deltas, one a frame, as one way does; return {total, longest}: milliseconds of the main thread
 * for all of it and in the worst piece of work, with style and layout.
 */
window.measure = async (way, text, deltas) => {
  const element = document.createElement("div");
  document.body.replaceChildren(element);
  const draw = WAYS[way](element);
  total = 0;
  longest = 0;
  for (let delta = 1; delta <= deltas; delta += 1) {
    await frame();
    count(() => draw(text.slice(0, Math.ceil((text.length * delta) / deltas)), delta === deltas));
  }
  return { total, longest };
};
