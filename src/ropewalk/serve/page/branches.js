// Branches of a conversation: another wording of a question, another answer, and the way between them.

import { make } from "./dom.js";

const MOST_CHARACTERS = 32000;

/** Buttons that lead to the messages that stand here in other branches; nothing where there is but one. */
export function switcher(tree, node, redraw) {
  const all = tree.siblings(node);
  if (all.length < 2) return [];
  const at = all.indexOf(node);
  const step = (by, name, sign) =>
    make("button", {
      type: "button",
      class: "quiet",
      "aria-label": name,
      text: sign,
      disabled: !all[at + by],
      on: {
        click: () => {
          tree.show(all[at + by]);
          redraw(name);
        },
      },
    });
  const place = make("span", { class: "place", text: `${at + 1} of ${all.length}` });
  const steps = [step(-1, "Branch before", "‹"), place, step(1, "Branch after", "›")];
  return [make("span", { class: "branches", role: "group", "aria-label": "Branches" }, ...steps)];
}

/** Let a question be worded anew in its own place: `send` begins a branch with it. */
export function editInPlace(article, text, send) {
  const shown = [...article.children];
  const words = make("textarea", { rows: "3", maxlength: String(MOST_CHARACTERS), "aria-label": "Your question, worded anew" });
  words.value = text;
  const close = () => {
    article.replaceChildren(...shown);
    article.querySelector(".edit-question").focus();
  };
  const save = (event) => {
    event.preventDefault();
    if (words.value.trim()) send(words.value);
  };
  const keys = (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save(event);
  };
  const buttons = make(
    "div",
    { class: "actions" },
    make("button", { class: "quiet", text: "Send as a new branch" }),
    make("button", { type: "button", class: "quiet", text: "Cancel", on: { click: close } }),
  );
  article.replaceChildren(make("form", { class: "edit", on: { submit: save, keydown: keys } }, words, buttons));
  words.focus();
}
