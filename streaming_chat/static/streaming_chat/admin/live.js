/**
 * The reply of a transcript that is being written: shown as its owner sees it, with its end in view until the reader scrolls up.
 *
 * Text of a model goes through the Markdown module; until that is loaded, it is set by textContent, as reasoning always is. Without
 * this script, the page shows what had been saved when it was requested.
 */

const ENDINGS = ["done", "stopped", "interrupted", "failed"];
const UP_KEYS = new Set(["ArrowUp", "PageUp", "Home"]);
// Scrolling down to within so many pixels of the end counts as reaching it.
const NEAR_PIXELS = 24;
// Between the end of the reply and that of the window: its scroll margin.
const MARGIN_PIXELS = 16;
const CLOSING_MILLISECONDS = 1_000;
// The app's static files: an attribute of the page must not decide which code runs.
const FOLDER = new URL("..", import.meta.url).href;

function trusted(address) {
  const url = new URL(address, FOLDER);
  return new URL(".", url).href === FOLDER ? url.href : "";
}

/** The text and reasoning of the reply, drawn at most once per animation frame. */
class LiveText {
  #element;
  #text;
  #thought;
  #document = null;
  #received = "";
  #thoughts = "";
  #frame = 0;

  constructor(element, texts) {
    const { markdown, highlighter, typesetter } = element.dataset;
    this.#element = element;
    this.#text = element.querySelector("[data-live=text]");
    this.#thought = element.querySelector("[data-live=reasoning] pre");
    import(trusted(markdown)).then(
      ({ MarkdownDocument }) => {
        const options = { texts, highlighter: trusted(highlighter), typesetter: trusted(typesetter) };
        this.#document = new MarkdownDocument(this.#text, options);
        this.#schedule();
      },
      // The source is as readable.
      () => {},
    );
  }

  add({ text, reasoning = "" }) {
    this.#received += text;
    this.#thoughts += reasoning;
    this.#schedule();
  }

  reset() {
    this.#received = this.#thoughts = this.#thought.textContent = "";
    this.#schedule();
  }

  end() {
    this.#draw(true);
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.#draw(false));
  }

  #draw(isComplete) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (isComplete || this.#received || this.#thoughts) this.#replaceSaved();
    this.#thought.append(this.#thoughts);
    this.#thoughts = "";
    this.#thought.parentElement.hidden = !this.#thought.textContent;
    if (this.#document) this.#document.draw(this.#received, { isComplete });
    else this.#text.textContent = this.#received;
  }

  /** The stream begins with what the server has put into the page. */
  #replaceSaved() {
    this.#text.hidden = false;
    const saved = this.#element.parentElement.querySelectorAll(":scope > .transcript-text, :scope > details[data-kind]");
    for (const part of saved) part.hidden = true;
  }
}

/** Keeps the end of a message in view. Scrolling up ends that; scrolling to the end, or the button, begins it again. */
class EndKeeper {
  #message;
  #button;
  #observer = new ResizeObserver(() => this.#update());
  #listeners = new AbortController();
  #isFollowing;
  #isOver = false;
  #top = 0;
  #height = 0;

  constructor(message, button) {
    this.#message = message;
    this.#button = button;
    this.#isFollowing = message.matches(".transcript-focus");
    this.#remember();
    this.#observer.observe(message);
    const passive = { passive: true, signal: this.#listeners.signal };
    // Where something else than the window scrolls, its events come here on their way down.
    addEventListener("scroll", () => this.#scrolled(), { ...passive, capture: true });
    // These come before the scrolling: text that arrives in between must not pull the reader down again.
    addEventListener("wheel", ({ deltaY }) => deltaY < 0 && this.#leave(), passive);
    addEventListener("keydown", (event) => isUpKey(event) && this.#leave(), passive);
    let touched = 0;
    addEventListener("touchstart", ({ touches }) => (touched = touches[0].clientY), passive);
    addEventListener("touchmove", ({ touches }) => touches[0].clientY > touched && this.#leave(), passive);
    button.addEventListener("click", () => this.#return(), passive);
  }

  /** Nothing more will follow, but code that is still to be coloured. */
  close() {
    this.#isOver = true;
    this.#update();
    setTimeout(() => {
      this.#observer.disconnect();
      this.#listeners.abort();
    }, CLOSING_MILLISECONDS);
  }

  get #distance() {
    return this.#message.getBoundingClientRect().bottom - innerHeight;
  }

  #update() {
    if (this.#isFollowing && this.#distance > 1 - MARGIN_PIXELS) this.#message.scrollIntoView({ block: "end" });
    this.#remember();
  }

  #remember() {
    const { top, height } = this.#message.getBoundingClientRect();
    [this.#top, this.#height] = [top, height];
    this.#button.hidden = this.#isOver || this.#isFollowing || this.#distance < NEAR_PIXELS;
  }

  #scrolled() {
    const { top, height } = this.#message.getBoundingClientRect();
    // A text that became shorter moves down without the reader having scrolled.
    if (top > this.#top + 1 && height >= this.#height) this.#isFollowing = false;
    else if (top < this.#top && this.#distance < NEAR_PIXELS) this.#isFollowing = true;
    this.#remember();
  }

  #leave() {
    if (scrollY <= 0) return;
    this.#isFollowing = false;
    this.#remember();
  }

  #return() {
    this.#isFollowing = true;
    this.#update();
    // The button is hidden now; the focus moves to what it led to.
    this.#message.tabIndex = -1;
    this.#message.focus({ preventScroll: true });
  }
}

/** Whether a key scrolls up; in a field it moves the caret. */
function isUpKey({ key, shiftKey, target }) {
  if (target.closest?.("input, textarea, select")) return false;
  return UP_KEYS.has(key) || (key === " " && shiftKey);
}

/** Say how the reply ended, wherever the page says that it is being written. */
function tell(message, { status, end_reason: reason, error }, texts) {
  const sentence = texts[`${status}.${error?.code ?? reason}`] ?? texts[status] ?? "";
  const ending = message.querySelector(".transcript-ending");
  const outcome = document.querySelector(".transcript-outcome[data-status=streaming]");
  for (const place of [part("state"), ending, outcome]) if (place) place.textContent = sentence;
  for (const element of [message, outcome]) if (element) element.dataset.status = status;
  for (const stale of message.querySelectorAll(".transcript-status, :scope > .transcript-facts")) stale.remove();
}

/** Offer the saved reply in place of what is of use for a live one. */
function offerSaved() {
  const link = part("link");
  const hadFocus = bar.contains(document.activeElement);
  bar.querySelector("form")?.remove();
  link.textContent = link.dataset.ended;
  link.hidden = false;
  if (hadFocus) link.focus();
  link.addEventListener("click", (event) => {
    const [address, current] = [link.href, location.href].map((url) => url.split("#")[0]);
    if (address !== current) return;
    // The browser would only scroll.
    event.preventDefault();
    location.hash = link.hash;
    location.reload();
  });
}

/** Follow the reply of this element until it has ended; the browser reconnects by itself where a connection was lost. */
function follow(element) {
  const message = element.closest("li");
  const texts = JSON.parse(element.dataset.words);
  const text = new LiveText(element, texts);
  const keeper = new EndKeeper(message, part("onward"));
  const source = new EventSource(element.dataset.follow);
  // From its beginning.
  for (const name of ["start", "reset"]) source.addEventListener(name, () => text.reset());
  for (const name of ["message", "reasoning"])
    source.addEventListener(name, ({ data }) => data !== "[DONE]" && text.add(JSON.parse(data)));
  for (const name of ENDINGS)
    source.addEventListener(name, ({ data }) => {
      source.close();
      text.end();
      tell(message, JSON.parse(data), texts);
      offerSaved();
      keeper.close();
    });
  part("link").hidden = true;
}

const bar = document.querySelector(".transcript-live-bar");
const part = (name) => bar.querySelector(`[data-live=${name}]`);

const element = document.querySelector("[data-follow]");
if (element) follow(element);
