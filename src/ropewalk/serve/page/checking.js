// The reminder beside an answer: what was checked about it here, and that the reader must verify the rest.

import { complete, Refused } from "./api.js";
import { byId, make } from "./dom.js";

const SAMPLES = 5;
const TEMPERATURE = 0.7; // the same words come again and again at 0

/** The reminder of an answer; `note` adds what was checked. */
export class Reminder {
  constructor() {
    this.checks = new Map();
    this.element = make("p", { class: "verify" });
    this.#say();
  }

  note(kind, sentence) {
    this.checks.set(kind, sentence);
    this.#say();
  }

  #say() {
    const checked = [...this.checks.values()];
    const words = checked.length ? `Checked here: ${checked.join("; ")}.` : "Nothing about it was checked here.";
    this.element.replaceChildren(make("strong", { text: "Verify it yourself." }), ` ${words}`);
  }
}

/** A button that asks the model the same again, several times, and says how many answers agree. */
export function offerSamples(answer, asked) {
  const button = make("button", { type: "button", class: "quiet", text: `Ask ${SAMPLES} times more`, on: { click: () => sample() } });
  const result = make("div", { class: "samples", role: "status" });
  const sample = async () => {
    button.disabled = true;
    result.replaceChildren(make("p", { text: "Asking." }));
    try {
      const made = await complete({ ...asked, n: SAMPLES, temperature: asked.temperature || TEMPERATURE, seed: asked.seed + 500_000 });
      const texts = made.choices.map((choice) => choice.message.content ?? "");
      const same = texts.filter((text) => normal(text) === normal(answer.said)).length;
      const sentence = `${same} of ${SAMPLES} more samples say the same`;
      result.replaceChildren(make("p", { text: `${sentence}.` }), make("ul", {}, ...grouped(texts).map(row)));
      answer.reminder.note("samples", sentence);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      result.replaceChildren(make("p", { class: "failure", text: error.message }));
      byId("announcement").textContent = error.message;
    }
    button.disabled = false;
  };
  return [button, result];
}

/** Texts that differ in more than letters' size and signs, each with how often it came, the most frequent first. */
function grouped(texts) {
  const groups = new Map();
  for (const text of texts) groups.set(normal(text), { text, count: (groups.get(normal(text))?.count ?? 0) + 1 });
  return [...groups.values()].sort((one, other) => other.count - one.count);
}

const row = ({ text, count }) => make("li", {}, make("span", { class: "times", text: `${count} ×` }), make("span", { dir: "auto", text: text.trim() || "(nothing)" }));
const normal = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
