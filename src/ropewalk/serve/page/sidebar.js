// The list of conversations: found, opened, renamed, exported, deleted.

import { changeConversation, deleteConversation, exportConversation, listConversations, Refused } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, make } from "./dom.js";

const WAIT_MILLISECONDS = 200; // after the last key
const WIDE = matchMedia("(min-width: 68.75rem)"); // the list stands beside the chat; else it lies over it
let waiting = 0;
let newest = 0;
let current = null; // the id of the conversation that is open
let deleted = () => {};

/** `onDeleted` is told when the conversation that is open is gone. */
export function prepareSidebar(onDeleted) {
  deleted = onDeleted;
  toggle(WIDE.matches);
  WIDE.addEventListener("change", () => toggle(WIDE.matches));
  byId("open-chats").addEventListener("click", () => {
    toggle(byId("chats").hidden);
    if (!byId("chats").hidden) byId("search").focus();
  });
  byId("chats").addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || WIDE.matches) return;
    toggle(false);
    byId("open-chats").focus();
  });
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh(), WAIT_MILLISECONDS);
  });
}

/** List the conversations anew; `open` is the id of the one that is shown. */
export async function refresh(open = current) {
  current = open;
  const mine = ++newest;
  const words = byId("search").value.trim();
  try {
    const { data, kept } = await listConversations(words);
    if (mine !== newest) return;
    const list = byId("chats-list");
    const focused = list.contains(document.activeElement) ? document.activeElement.closest("li").dataset.id : null;
    list.replaceChildren(...data.map(row));
    if (focused) list.querySelector(`[data-id="${focused}"] a`)?.focus();
    byId("chats-none").textContent = data.length ? "" : words ? "No conversation has these words." : "Nothing has been said yet.";
    byId("chats-kept").textContent = kept ? "Kept on this server until you delete them." : "Kept until this server ends: it was started without --chats.";
  } catch (error) {
    tell(error);
  }
}

/** On a phone the list lies over the chat: put it away. */
export function putAway() {
  if (!WIDE.matches) toggle(false);
}

function toggle(open) {
  const { offsetHeight } = document.querySelector(".bar"); // one line or two
  byId("chats").style.setProperty("--top", `${offsetHeight}px`);
  byId("chats").hidden = !open;
  byId("open-chats").setAttribute("aria-expanded", String(open));
}

function row(conversation) {
  const title = conversation.title || "(no words)";
  const link = make("a", { href: `#${conversation.id}`, "aria-current": conversation.id === current ? "page" : null, dir: "auto", text: title });
  const doings = make("div", { class: "doings", hidden: true });
  const more = make("button", { type: "button", class: "quiet", "aria-expanded": "false", "aria-label": "More", "aria-description": title, text: "⋯" });
  more.addEventListener("click", () => {
    doings.hidden = !doings.hidden;
    more.setAttribute("aria-expanded", String(!doings.hidden));
  });
  const button = (text, click) => make("button", { type: "button", class: "quiet", text, on: { click } });
  doings.append(
    button("Rename", () => rename(conversation, item)),
    button("Save as Markdown", () => save(conversation, "markdown", "md")),
    button("Save as JSONL", () => save(conversation, "jsonl", "jsonl")),
    button("Delete", () => remove(conversation, title)),
  );
  const item = make("li", { "data-id": conversation.id }, link, more, doings);
  return item;
}

function rename(conversation, item) {
  const name = make("input", { type: "text", maxlength: "200", required: true, "aria-label": "The conversation's name" });
  name.value = conversation.title;
  const keep = async (event) => {
    event.preventDefault();
    await changeConversation(conversation.id, { title: name.value.trim() || conversation.title }).catch(tell);
    await refresh();
  };
  const keys = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    refresh();
  };
  item.replaceChildren(make("form", { class: "rename", on: { submit: keep, keydown: keys } }, name, make("button", { class: "quiet", text: "Save" })));
  name.select();
}

async function save(conversation, form, ending) {
  try {
    const address = URL.createObjectURL(await exportConversation(conversation.id, form));
    const name = (conversation.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60);
    make("a", { href: address, download: `${name}.${ending}` }).click();
    URL.revokeObjectURL(address);
  } catch (error) {
    tell(error);
  }
}

async function remove(conversation, title) {
  if (!(await confirmed("Delete this conversation?", { about: `“${title}”, with all its branches, cannot be brought back.`, yes: "Delete" }))) return;
  try {
    await deleteConversation(conversation.id);
    if (conversation.id === current) deleted();
    else await refresh();
    byId("announcement").textContent = "Deleted.";
  } catch (error) {
    tell(error);
  }
}

function tell(error) {
  if (!(error instanceof Refused)) throw error;
  byId("chats-none").textContent = error.message;
  byId("announcement").textContent = error.message;
}
