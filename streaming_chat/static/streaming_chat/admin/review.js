// The keys of reviewing: j and k go from message to message, f flags the one in focus, d is done and next. Every key presses
// a button of the page, which works without this module, too, but for those that only move the focus.

const form = document.getElementById("review");
const FIELDS = "input, textarea, select, [contenteditable]";

const messages = () => [...document.querySelectorAll('li[id^="m-"]')];

// By the address itself: `:target` matches only once the page is drawn, after this module has run.
const named = () => messages().find((message) => `#${message.id}` === location.hash);

// The message with the focus, else the one that the address names, else the first that is in view.
function current() {
    return (
        document.activeElement?.closest('li[id^="m-"]') ??
        named() ??
        messages().find((message) => message.getBoundingClientRect().bottom > form.getBoundingClientRect().bottom)
    );
}

function focus(message) {
    message.tabIndex = -1;
    message.focus({ preventScroll: true });
    message.scrollIntoView({ block: "start" });
}

function move(step) {
    const all = messages();
    const held = document.activeElement?.closest('li[id^="m-"]');
    const from = held ?? named();
    const next = from ? all[all.indexOf(from) + step] : current();
    if (next) focus(next);
    else document.querySelector(`.transcript-pages a[rel="${step > 0 ? "next" : "prev"}"]`)?.click();
}

const press = (selector, within = form) => within?.querySelector(selector)?.click();

const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    d: () => press('button[value="done_next"]'),
    f: () => press('button[data-verdict="bad"]', current()),
};

function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.isComposing || event.repeat) return;
    const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!act || event.target.closest?.(FIELDS) || form.dataset.sent) return;
    event.preventDefault();
    act();
}

if (form) {
    for (const hidden of form.querySelectorAll(".review-buttons [hidden]")) hidden.hidden = false;
    for (const button of form.querySelectorAll("[data-review-move]"))
        button.addEventListener("click", () => move(Number(button.dataset.reviewMove)));
    form.querySelector("[data-review-flag]").addEventListener("click", KEYS.f);
    document.addEventListener("keydown", onKey);
    // A second press while the answer is awaited would be one of the next page's.
    form.addEventListener("submit", (event) => {
        if (form.dataset.sent) event.preventDefault();
        form.dataset.sent = "1";
    });
    addEventListener("pageshow", () => delete form.dataset.sent);
    // What is scrolled to comes to stand below the bar, however many lines it has.
    new ResizeObserver(() => {
        document.documentElement.style.scrollPaddingBlockStart = `${form.offsetHeight + 8}px`;
    }).observe(form);
    if (named()) focus(named());
}
