// The conversation that is shown: its tree, where its messages stand on the page, and whether an answer is being written.

import { showContext } from "./context.js";
import { byId } from "./dom.js";
import { chosen } from "./models.js";
import { reading } from "./reading.js";
import { settings } from "./settings.js";
import { refresh } from "./sidebar.js";
import { Tree } from "./tree.js";

export const conversation = byId("conversation");
export const question = byId("question");
export const places = new Map(); // the element of each message that is shown
export const thread = {
  tree: plant(null),
  running: null, // the AbortController of the answer that is being written
};

/** Tell those who do not see it. */
export function announce(words) {
  byId("announcement").textContent = words;
}

/** A tree whose first message gives the page its address. */
export function plant(kept) {
  return new Tree(kept, {
    changed: (tree) => {
      if (tree !== thread.tree) return;
      conversation.dataset.saved = String(!tree.unsaved);
      if (!tree.id || location.hash === `#${tree.id}`) return;
      history.replaceState(null, "", `#${tree.id}`);
      refresh(tree.id);
    },
    refused: ({ refusal }) => {
      announce(refusal);
      byId("keeping").textContent = `What is said here is no longer kept: ${refusal}`;
    },
  });
}

/** From now on there is something to stop. */
export function begun() {
  thread.running = new AbortController();
  byId("stop").hidden = false;
  byId("send").hidden = true;
  return thread.running;
}

export function ended(stopping) {
  if (thread.running !== stopping) return;
  thread.running = null;
  byId("stop").hidden = true;
  byId("send").hidden = false;
}

/** Say how full the model's context is, with what is being typed. */
export function measure() {
  const model = chosen();
  if (!model || thread.running) return;
  const branch = thread.tree.branch();
  const sent = reading([...branch, { message: { role: "user", content: question.value } }], model);
  showContext(model, branch.length ? sent : [], settings().max_tokens, branch.map((node) => places.get(node)));
}

/** Give what is being typed the height that it needs. */
export function fit() {
  question.style.setProperty("height", "auto");
  question.style.setProperty("height", `${question.scrollHeight}px`);
}
