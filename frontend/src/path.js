/** The messages in view, from the root to the head: the newest of them, earlier ones on request. */

// So many are made at once; each costs about 3 ms with its Markdown.
const AT_ONCE = 30;

export class Path {
  /** at: the element's parts. make(message): returns its view. */
  constructor({ at, make, signal }) {
    Object.assign(this, { at, make });
    this.views = [];
    this.hidden = [];
    at.earlier.addEventListener("click", () => this.#earlier(), { signal });
  }

  get last() {
    return this.views.at(-1);
  }

  /** Show these messages instead. */
  show(messages) {
    this.views = [];
    this.hidden = [...messages];
    this.at.messages.replaceChildren();
    this.#prepend();
  }

  add(view) {
    this.views.push(view);
    this.at.messages.append(view.element);
    return view;
  }

  /** Take away this view and all after it. */
  cutAt(view) {
    for (const gone of this.views.splice(this.views.indexOf(view))) gone.element.remove();
  }

  /** Return the last view that fits, undefined when there is none. */
  findLast(fits) {
    return this.views.findLast(fits);
  }

  #prepend() {
    const views = this.hidden.splice(-AT_ONCE).map((message) => this.make(message));
    this.views.unshift(...views);
    this.at.messages.prepend(...views.map((view) => view.element));
    this.at.earlier.hidden = !this.hidden.length;
    return views;
  }

  /** Show some more, and leave what was read where it is. */
  #earlier() {
    const { scroll } = this.at;
    const below = scroll.scrollHeight - scroll.scrollTop;
    const [first] = this.#prepend();
    scroll.scrollTop = scroll.scrollHeight - below;
    if (!this.at.earlier.hidden) return;
    first.element.tabIndex = -1;
    first.element.focus({ preventScroll: true });
  }
}
