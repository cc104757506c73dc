// What to begin with: the server's questions, and examples of what a chat model is good at.

import { byId, make } from "./dom.js";

const EXAMPLES = [
  { kind: "Ideas", text: "Suggest a name for a boat.", answers: 4 },
  { kind: "Draft", text: "Write a short letter that thanks a neighbour for help in the garden.", answers: 1 },
  { kind: "Code", text: "Write a Python program that prints the first ten prime numbers.", answers: 1 },
];

/** `ask(text, answers)` is called when one is chosen. */
export function offerStarters(questions, ask) {
  byId("starters").replaceChildren(...questions.map((text) => item(text, () => ask(text, 1))));
  byId("examples").replaceChildren(
    ...EXAMPLES.map(({ kind, text, answers }) => item(text, () => ask(text, answers), make("span", { class: "kind", text: kind }))),
  );
}

const item = (text, click, ...before) => make("li", {}, make("button", { type: "button", on: { click } }, ...before, text));
