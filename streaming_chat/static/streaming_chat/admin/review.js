// The keys of reviewing: j and k go from message to message, f flags the outlined one, d is done and next, u undoes it or
// reopens a review, r releases the conversation. Every key presses a button of the page, which works without this module, too,
// except the ones that only move the outline. Besides, notes and corrected answers that are typed are kept in the tab until they
// are saved. The list of conversations, which is shown at the end of a queue, has only u.

const form = document.getElementById("review");
const FIELDS = "input, textarea, select, [contenteditable]";

const messages = () => [...document.querySelectorAll('li[id^="m-"]')];

// By the address itself: `:target` matches only once the page is drawn, after this module has run.
const named = () => messages().find((message) => `#${message.id}` === location.hash);

// The message that the keys are about, which is the one with the outline.
let chosen = null;

function choose(message) {
    chosen = message;
    for (const each of messages()) each.classList.toggle("transcript-focus", each === message);
}

const isBelowBar = (message) => message.getBoundingClientRect().bottom > form.getBoundingClientRect().bottom;

const isInView = (message) => isBelowBar(message) && message.getBoundingClientRect().top < innerHeight;

// What somebody has scrolled away from is not what they mean.
const meant = () => (chosen && isInView(chosen) ? chosen : null);

const current = () => meant() ?? messages().find(isInView);

function focus(message) {
    choose(message);
    message.tabIndex = -1;
    message.focus({ preventScroll: true });
    message.scrollIntoView({ block: "start" });
}

function move(step) {
    const all = messages();
    const from = meant();
    // On a phone the head of the page may leave no message in view.
    const next = from ? all[all.indexOf(from) + step] : (current() ?? all.find(isBelowBar));
    if (next) focus(next);
    else document.querySelector(`.transcript-pages a[rel="${step > 0 ? "next" : "prev"}"]`)?.click();
}

const press = (selector, within = form) => within?.querySelector(selector)?.click();

const undo = document.querySelector(".review-undo button");

const LIST_KEYS = { u: () => undo?.click() };

const TRANSCRIPT_KEYS = {
    u: () => (undo ? undo.click() : press('button[value="reopen"]')),
    j: () => move(1),
    k: () => move(-1),
    d: () => press('button[value="done_next"]'),
    r: () => press('button[value="release"]'),
    f: () => {
        const message = current();
        if (message) choose(message);
        press('button[data-verdict="bad"]', message);
    },
};

const KEYS = form ? TRANSCRIPT_KEYS : LIST_KEYS;

// A second press while the answer is awaited would be one of the next page's.
let isSubmitted = false;

function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || event.isComposing || event.repeat) return;
    const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
    if (!act || event.target.closest?.(FIELDS) || isSubmitted) return;
    event.preventDefault();
    act();
}

// A session that ended on the way, or a link to another page of the transcript, would lose what was typed. Which version of
// the review it was made of is kept, too, so that what another reviewer has saved since is not overwritten.
const DRAFT = `streaming-chat review ${form?.action}`;
const { notes, version, base } = form?.elements ?? {};
const bare = (text) => text.replace(/^\n+|\n+$/g, "");

function keepDraft(isSent) {
    if (!isSent && bare(notes.value) === bare(notes.defaultValue)) return sessionStorage.removeItem(DRAFT);
    const draft = { notes: notes.value, version: version.value, base: base.value, isSent };
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
}

function bringBackDraft() {
    const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
    if (!draft) return;
    // Saved, or settled on the page of a conflict.
    if (bare(draft.notes) === bare(notes.value) || (draft.isSent && draft.version !== version.value))
        return sessionStorage.removeItem(DRAFT);
    [notes.value, version.value, base.value] = [draft.notes, draft.version, draft.base];
    notes.closest("details").open = true;
}

// Corrected answers are each reviewer's own, so no version is kept with them. Those on other pages of the transcript wait, too.
const CORRECTIONS = `${DRAFT} corrections`;
const corrections = [...(form?.elements ?? [])].filter((field) => field.name.startsWith("correction-"));
const keptCorrections = () => JSON.parse(sessionStorage.getItem(CORRECTIONS) ?? "{}");

function keepCorrection({ name, value, defaultValue }) {
    const kept = keptCorrections();
    if (bare(value) === bare(defaultValue)) delete kept[name];
    else kept[name] = value;
    sessionStorage.setItem(CORRECTIONS, JSON.stringify(kept));
}

function bringBackCorrections() {
    const kept = keptCorrections();
    for (const field of corrections.filter(({ name }) => Object.hasOwn(kept, name))) {
        field.value = kept[field.name];
        if (bare(field.value) !== bare(field.defaultValue)) field.closest("details").open = true;
        // Forgets it if it was saved.
        keepCorrection(field);
    }
}

for (const each of document.querySelectorAll("#review, .review-undo"))
    each.addEventListener("submit", (event) => {
        if (isSubmitted) event.preventDefault();
        isSubmitted = true;
    });
addEventListener("pageshow", () => {
    isSubmitted = false;
});
document.addEventListener("keydown", onKey);
undo?.querySelector("kbd").removeAttribute("hidden");

if (form) {
    document.querySelector(".transcript").classList.add("transcript-keys");
    bringBackDraft();
    notes.addEventListener("input", () => keepDraft(false));
    bringBackCorrections();
    for (const field of corrections) field.addEventListener("input", () => keepCorrection(field));
    for (const hidden of form.querySelectorAll(".review-buttons [hidden]")) hidden.hidden = false;
    for (const button of form.querySelectorAll("[data-review-move]"))
        button.addEventListener("click", () => move(Number(button.dataset.reviewMove)));
    form.querySelector("[data-review-flag]").addEventListener("click", KEYS.f);
    form.addEventListener("submit", () => sessionStorage.getItem(DRAFT) && keepDraft(true));
    for (const type of ["pointerdown", "focusin"])
        document.addEventListener(type, (event) => {
            const message = event.target.closest?.('li[id^="m-"]');
            if (message) choose(message);
        });
    addEventListener("hashchange", () => named() && choose(named()));
    if (named()) focus(named());
    else choose(document.querySelector(".transcript-focus"));
}
