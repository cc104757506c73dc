// What a person says of answers: a thumb with reasons, the words an answer should have had, which of two is better.

import { aboutFeedback, judge, Refused, retract } from "./api.js";
import { byId, make } from "./dom.js";

const MOST_CHARACTERS = 32000;
let reasons = null; // to offer for "good" and for "bad"; null where nothing is kept

/** Find out whether judgements are kept here, and tell the reader. */
export async function prepareJudging() {
  const about = await aboutFeedback();
  if (about.kept) reasons = about.reasons;
  byId("rival-row").hidden = !about.kept;
  byId("keeping").textContent = about.kept
    ? "Answers that you judge are kept on this server, with their conversation up to there, to train models."
    : "";
}

/** Let an answer that came to its end be judged. `settle` is told the text to go on with when that changes. */
export function offerJudging(answer, settle) {
  if (!reasons || !answer.whole) return;
  const bar = make("div", { class: "judging", role: "group", "aria-label": "Your judgement of this answer" });
  const below = make("div", { class: "below" });
  bar.append(...thumbs(answer, below), editButton(answer, below, settle));
  answer.flags.after(bar, below);
}

/** Ask which of two answers is better. `settle` is told the one to go on with; of equals, the first. */
export function offerChoice(pair, answers, settle) {
  const [left, right] = answers.map((answer) => ({ id: answer.id }));
  const bar = make("div", { class: "judging", role: "group", "aria-label": "Which answer is better?" });
  const choices = { left: "The first is better", right: "The second is better", tie: "Both are as good", neither: "Neither is good" };
  const choose = (preferred) =>
    tell(answers[0], async () => {
      const id = await judge({ kind: "choice", left, right, preferred });
      answers.forEach((answer) => answer.reveal());
      showDone(bar, `You said: ${choices[preferred].toLowerCase()}.`, answers[0], id, () => bar.replaceChildren(...buttons));
      settle(answers[preferred === "right" ? 1 : 0]);
    });
  const buttons = Object.entries(choices).map(([preferred, text]) => button(text, () => choose(preferred)));
  bar.append(...buttons);
  pair.append(bar);
}

/** Two buttons, one of which may be down; pressed again it comes up and the judgement is taken back. */
function thumbs(answer, below) {
  let given = null;
  const press = (good) =>
    tell(answer, async () => {
      if (given?.good === good) {
        await retract(given.id);
        given = null;
      } else given = { good, id: await judge({ kind: "thumb", answer: { id: answer.id }, good }) };
      both.forEach((one, place) => one.setAttribute("aria-pressed", String(given?.good === (place === 0))));
      below.replaceChildren(...(given ? [why(answer, below, given)] : []));
    });
  const both = [button("Good", () => press(true)), button("Bad", () => press(false))];
  both.forEach((one) => one.setAttribute("aria-pressed", "false"));
  return both;
}

/** Ask for reasons; the thumb is given without them. */
function why(answer, below, given) {
  const boxes = reasons[given.good ? "good" : "bad"].map((reason) => make("input", { type: "checkbox", value: reason }));
  const comment = make("input", { type: "text", maxlength: "2000", placeholder: "In your words", "aria-label": "Comment" });
  const send = (event) => {
    event.preventDefault();
    tell(answer, async () => {
      const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
      given.id = await judge({ kind: "thumb", answer: { id: answer.id }, good: given.good, reasons: chosen, comment: comment.value });
      below.replaceChildren(done("Thank you."));
    });
  };
  return make(
    "form",
    { class: "why", on: { submit: send } },
    make("fieldset", {}, make("legend", { text: given.good ? "What is good?" : "What is wrong?" }), ...boxes.map((box) => make("label", {}, box, box.value)), comment),
    make("button", { class: "quiet", text: "Send" }),
  );
}

function editButton(answer, below, settle) {
  const open = () => {
    const words = make("textarea", { rows: "4", maxlength: String(MOST_CHARACTERS), "aria-label": "How the answer should have been" });
    words.value = answer.said;
    const close = () => {
      below.replaceChildren();
      opener.focus();
    };
    const save = (event) => {
      event.preventDefault();
      tell(answer, async () => {
        const id = await judge({ kind: "edit", answer: { id: answer.id }, text: words.value });
        const ideal = make("p", { class: "ideal", dir: "auto", text: words.value });
        settle(words.value);
        showDone(below, "As you would have it:", answer, id, () => {
          below.replaceChildren();
          settle(answer.said);
        });
        below.append(ideal);
      });
    };
    const escape = (event) => event.key === "Escape" && close();
    const buttons = make("div", { class: "judging" }, make("button", { class: "quiet", text: "Save" }), button("Cancel", close));
    below.replaceChildren(make("form", { class: "edit", on: { submit: save, keydown: escape } }, words, buttons));
    words.focus();
  };
  const opener = button("Edit", open);
  return opener;
}

/** Say what is kept now, with a button to take it back. */
function showDone(place, text, answer, id, undo) {
  const back = () =>
    tell(answer, async () => {
      await retract(id);
      undo();
      byId("announcement").textContent = "Taken back.";
    });
  const said = done(text);
  place.replaceChildren(said, button("Take back", back));
  said.focus();
}

const done = (text) => make("p", { class: "done", role: "status", tabindex: "-1", text });
const button = (text, click) => make("button", { type: "button", class: "quiet", text, on: { click } });

/** Do what the server may refuse; its sentence then stands at the answer. */
async function tell(answer, action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    answer.flag(error.message, "failure");
    byId("announcement").textContent = error.message;
  }
}
