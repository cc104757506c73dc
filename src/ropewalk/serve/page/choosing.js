// Several answers to one question: two to be compared, or ideas of which one is gone on with.

import { Answer } from "./answer.js";
import { make } from "./dom.js";
import { look } from "./following.js";
import { offerChoice } from "./judging.js";
import { quiet } from "./messages.js";
import { announce, thread } from "./thread.js";

/** Two answers to be compared: in an order drawn by lot, without their models' names. */
export function blind(two) {
  if (Math.random() < 0.5) two.reverse();
  return [new Answer(two[0], "First answer"), new Answer(two[1], "Second answer")];
}

/** Of two answers the better one is asked for; the conversation goes on with it. */
export async function compare(place, answers, nodes) {
  if (!answers.every((answer) => answer.whole && answer.said)) return answers.forEach((answer) => answer.reveal());
  announce("There are two answers: say which is better.");
  offerChoice(place, answers, (better) => {
    const node = nodes[answers.indexOf(better)];
    if (nodes.includes(thread.tree.shown)) thread.tree.end(node);
    if (!better.followed) look(better, node);
  });
}

/** Of several ideas, each may be what the conversation goes on with. `redraw` where it has gone on with another already. */
export async function chooseFrom(answers, nodes, redraw) {
  announce(`There are ${answers.length} answers: choose the one to go on with, or the first is.`);
  const buttons = answers.map((answer, number) => {
    const press = () => {
      const goesOn = !nodes.includes(thread.tree.shown);
      thread.tree.show(nodes[number]);
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
      if (goesOn) redraw("Another branch is shown.");
    };
    const button = quiet("Go on with this", press, { "aria-pressed": String(nodes[number] === thread.tree.shown) });
    if (nodes[number]) answer.reminder.element.after(make("div", { class: "actions" }, button));
    return button;
  });
  for (const [number, answer] of answers.entries()) if (nodes[number]) await look(answer, nodes[number]);
}
