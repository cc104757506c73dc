// A tree of continuations: what a model may say next, how probable it is, and what would come after that.

import { byId, make, percent } from "./dom.js";
import { attempt, bar, chooseModel, read } from "./inside.js";

const WAIT_MILLISECONDS = 300; // after the last key
const BRANCHES = 8;
const ONE_LEVEL = "This model runs on another server, which tells what may come next, but not what would come after that.";

const text = make("textarea", { id: "text", rows: "3", maxlength: "32000", spellcheck: "false" });
const asks = make("input", { type: "checkbox", id: "asks" });
const soFar = make("p", { id: "so-far", "aria-live": "polite", dir: "auto" });
const tree = make("ul", { role: "tree", class: "tree", "aria-label": "What may come next" });
let model = null;
let waiting = 0; // the timer of a tree to come
let asking = null; // the AbortController of the tree that is shown

async function begin() {
  text.value = "The capital of France is";
  byId("content").append(
    make("label", { for: "text", text: "A text to continue" }),
    text,
    make("label", { class: "choice" }, asks, " It is a question to answer"),
    make("p", { class: "help", text: "The arrow keys move over the tree: right opens a token and shows what may follow it, left closes it." }),
    soFar,
    tree,
  );
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    tree.setAttribute("aria-busy", "true");
    waiting = setTimeout(again, WAIT_MILLISECONDS);
  });
  asks.addEventListener("change", again);
  tree.addEventListener("keydown", move);
  await tried(() =>
    chooseModel(async (id) => {
      model = id;
      await plant();
    }, tried),
  );
}

/** What the server refuses clears the tree: with another text, or another model, there may be one again. */
function tried(action) {
  return attempt(action, () => {
    tree.replaceChildren();
    soFar.textContent = "";
  });
}

/** Begin anew, if the models are known already: else that is still to come. */
function again() {
  clearTimeout(waiting);
  waiting = 0;
  if (model) tried(plant);
}

/** Begin a new tree from the text. */
async function plant() {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  tree.setAttribute("aria-busy", "true");
  try {
    const { text: said, tokens } = await next([]);
    soFar.textContent = tokens.some((token) => token.id === null) ? ONE_LEVEL : said;
    tree.replaceChildren(...tokens.map((token) => branch(token, [], 1, 1)));
    tree.firstElementChild?.setAttribute("tabindex", "0");
  } finally {
    if (asking === mine && !waiting) tree.setAttribute("aria-busy", "false");
  }
}

function next(path) {
  const given = asks.checked ? { messages: [{ role: "user", content: text.value }] } : { prompt: text.value };
  return read("/v1/next", { model, path, count: BRANCHES, ...given }, asking.signal);
}

/** Whether more may follow a token: it has no id where another server is asked. */
const opens = (token) => !token.ends && token.id !== null;

/** One token behind `before`, at a depth; `reach` is how probable it was to come to it. */
function branch(token, before, level, reach) {
  const probability = Math.exp(token.logprob);
  const name = token.ends ? "end of the text" : visible(token);
  const path = [...before, token.id];
  const row = make(
    "div",
    { class: "row" },
    make("span", { class: token.ends ? "name ends" : "name", text: name }),
    bar(probability),
    make("span", { class: "percent", text: percent(probability) }),
    make("span", { class: "reach", text: level > 1 ? `${percent(reach * probability)} together` : "" }),
  );
  const item = make("li", {
    role: "treeitem",
    tabindex: "-1",
    "aria-level": level,
    "aria-expanded": opens(token) && "false",
    "aria-label": `${name}, ${percent(probability)}`,
    "data-id": token.id,
  }, row);
  item.open = () => tried(() => open(item, path, level, reach * probability));
  row.addEventListener("click", () => {
    focus(item);
    toggle(item);
  });
  return item;
}

async function open(item, path, level, reach) {
  if (item.getAttribute("aria-expanded") !== "false") return;
  item.setAttribute("aria-expanded", "true");
  if (item.dataset.said === undefined) {
    const group = make("ul", { role: "group" });
    item.append(group);
    const found = await next(path);
    item.dataset.said = found.text;
    group.append(...found.tokens.map((token) => branch(token, path, level + 1, reach)));
  }
  soFar.textContent = item.dataset.said;
}

function close(item) {
  item.setAttribute("aria-expanded", "false");
}

function toggle(item) {
  if (item.getAttribute("aria-expanded") === "true") close(item);
  else item.open();
}

function focus(item) {
  if (!item) return;
  tree.querySelectorAll('[tabindex="0"]').forEach((other) => other.setAttribute("tabindex", "-1"));
  item.setAttribute("tabindex", "0");
  item.focus();
}

/** The keys of a tree view, as WAI-ARIA's authoring practices have them. */
function move(event) {
  const item = event.target.closest('[role="treeitem"]');
  const shown = [...tree.querySelectorAll('[role="treeitem"]')].filter((one) => !one.parentElement.closest('[aria-expanded="false"]'));
  const at = shown.indexOf(item);
  const expanded = item.getAttribute("aria-expanded");
  const keys = {
    ArrowDown: () => focus(shown[at + 1]),
    ArrowUp: () => focus(shown[at - 1]),
    Home: () => focus(shown[0]),
    End: () => focus(shown.at(-1)),
    ArrowRight: () => (expanded === "true" ? focus(item.querySelector('[role="treeitem"]')) : item.open()),
    ArrowLeft: () => (expanded === "true" ? close(item) : focus(item.parentElement.closest('[role="treeitem"]'))),
    Enter: () => toggle(item),
    " ": () => toggle(item),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

/** A token that breaks a character is shown by its bytes, spaces by dots. */
function visible(token) {
  const said = token.text.includes("\ufffd") ? token.bytes.replace(/../g, "\\x$&") : token.text;
  return said.replaceAll(" ", "·").replaceAll("\t", "⇥").replaceAll("\n", "⏎");
}

await begin();
