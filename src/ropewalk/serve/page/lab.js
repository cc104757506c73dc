// Change facts of the Atlas, have the model made anew, and hear both models on it.

import { byId, make } from "./dom.js";
import { attempt, choose, read, table, words } from "./inside.js";
import { plot, short } from "./plot.js";

const POLL_MILLISECONDS = 2000;
const ANSWER_TOKENS = 64;
const QUESTIONS = {
  capital: "What is the capital of NAME?",
  continent: "Which continent is NAME on?",
  currency: "What is the currency of NAME?",
  language: "Which language is spoken in NAME?",
  population: "How many people live in NAME?",
  phone: "What is the calling code of NAME?",
  domain: "What is the internet domain of NAME?",
  neighbours: "Which countries border NAME?",
};
const asked = (country, relation) => QUESTIONS[relation].replace("NAME", country);

const facts = make("section", { "aria-label": "Facts of the country" });
const pages = make("section", { "aria-label": "Pages that state a fact", "aria-live": "polite" });
const runs = make("section", { "aria-label": "Models made anew" });
let original = null; // the model whose Atlas is changed
let countries = new Map();
const drawn = new Map(); // what is shown of each run, by its id: so that what one types there is not lost

await attempt(async () => {
  const lab = await read("/v1/lab");
  original = lab.model;
  countries = new Map(lab.countries.map((country) => [country.name, country.facts]));
  byId("content").append(
    make("p", { class: "help", text: `Alter what the pages say of a country. All pages are then written anew, and ${original} is trained again on them: minutes of all that this machine has.` }),
    facts,
    pages,
    runs,
  );
  await choose(lab.countries.map(({ name }) => ({ id: name })), ({ id }) => id, showFacts);
  await follow();
});

function showFacts(country) {
  const inputs = {};
  const rows = Object.entries(countries.get(country)).map(([relation, value]) => {
    inputs[relation] = make("input", { type: "text", maxlength: "60", "aria-label": `New ${relation} of ${country}`, placeholder: "as it is" });
    const look = make("button", { type: "button", class: "quiet", text: "Its pages", on: { click: () => attempt(() => showPages(country, relation, value)) } });
    return [words(relation), value, look, inputs[relation]];
  });
  const retrain = make("button", { text: "Retrain" });
  const submit = (event) => {
    event.preventDefault();
    const filled = Object.entries(inputs).filter(([, input]) => input.value.trim());
    const changes = Object.fromEntries(filled.map(([relation, input]) => [`${country}/${relation}`, input.value.trim()]));
    if (filled.length) attempt(async () => {
      await read("/v1/lab", { changes });
      await follow();
    });
  };
  facts.replaceChildren(make("form", { on: { submit } }, table(`What the pages say of ${country}`, ["fact", "now", "", "is to be"], rows), retrain));
  pages.replaceChildren();
}

async function showPages(country, relation, value) {
  const found = await read("/v1/trace", { model: original, text: `${value}.`, about: asked(country, relation) });
  const evidence = found.sentences.flatMap((sentence) => sentence.evidence);
  pages.replaceChildren(make("h3", { text: `Where pages say so of ${country}` }), sources(found, evidence));
}

function sources(found, evidence) {
  if (!found.available) return make("p", { class: "help", text: `${found.reason}.` });
  if (!evidence.length) return make("p", { class: "help", text: "No sentence of the pages holds these words together." });
  return make("ul", { class: "evidence" }, ...evidence.map(({ sentence, href, title, url }) =>
    make("li", {}, make("a", { href, target: "_blank", rel: "noopener", text: title || url }), make("p", { class: "excerpt", dir: "auto", text: sentence }))));
}

/** Show how the runs stand; again in two seconds, as long as one is under way. */
async function follow() {
  const { data } = await read("/v1/lab/changes");
  for (const change of data) {
    if (!drawn.has(change.id)) {
      drawn.set(change.id, new Run(change));
      runs.prepend(drawn.get(change.id).element);
    }
    await drawn.get(change.id).update(change);
  }
  if (data.some((change) => change.state === "running")) setTimeout(() => attempt(follow), POLL_MILLISECONDS);
}

class Run {
  constructor(change) {
    const told = Object.entries(change.changes).map(([key, value]) => `${words(key)} is now ${value}`);
    this.state = make("p", { role: "status" });
    this.line = make("p", { class: "log" });
    this.curve = make("div", { class: "curve-of-run" });
    this.stop = make("button", { type: "button", text: "Stop", on: { click: () => attempt(() => end(change.id)) } });
    this.both = make("div", {});
    this.element = make("article", { class: "run" }, make("h3", { text: `${change.id}: ${told.join("; ")}` }), this.state, this.line, this.curve, this.stop, this.both);
    this.change = change;
  }

  async update(change) {
    this.state.textContent = `${change.state}, ${short(Math.round(change.seconds))} s${change.said ? `: ${change.said}` : ""}`;
    this.line.textContent = change.state === "running" ? change.line : "";
    this.stop.hidden = change.state !== "running";
    if (change.state === "running") await this.#draw();
    if (change.model && !this.both.childElementCount) this.both.append(askBoth(change));
  }

  /** The newest training of this run, if one has begun. */
  async #draw() {
    const { data } = await read("/v1/runs");
    const own = data.filter((run) => run.id.startsWith(`${this.change.id}/`)).sort((left, right) => left.changed_seconds - right.changed_seconds)[0];
    if (!own) return;
    const rows = [];
    for (let next = -1, after = 0; next !== after; ) {
      after = Math.max(next, 0);
      const found = await read(`/v1/runs/${own.id}?after=${after}`);
      rows.push(...found.rows);
      next = found.next;
    }
    const points = rows.filter((row) => Number.isFinite(row["train/loss"])).map((row) => [row.step, row["train/loss"]]);
    if (points.length > 1) this.curve.replaceChildren(make("figure", {}, make("figcaption", { text: `${own.id}: training loss ${short(points.at(-1)[1])}` }), plot("training loss", points)));
  }
}

async function end(id) {
  await read(`/v1/lab/changes/${id}`, null, null, "DELETE");
  await follow();
}

/** A question, put to the old model and to the new one; below each answer the pages that hold it. */
function askBoth(change) {
  const [country, relation] = Object.keys(change.changes)[0].split("/");
  const question = make("input", { type: "text", value: asked(country, relation), "aria-label": "A question for both models" });
  const answers = make("div", { class: "side-by-side", "aria-live": "polite" });
  const submit = (event) => {
    event.preventDefault();
    attempt(async () => answers.replaceChildren(...(await Promise.all([original, change.model].map((model) => answered(model, question.value))))));
  };
  return make("div", {}, make("form", { class: "ask", on: { submit } }, question, make("button", { text: "Ask both" })), answers);
}

async function answered(model, content) {
  const made = await read("/v1/chat/completions", { model, messages: [{ role: "user", content }], temperature: 0, max_tokens: ANSWER_TOKENS });
  const text = made.choices[0].message.content;
  const found = await read("/v1/trace", { model, text, about: content });
  const evidence = found.sentences.flatMap((sentence) => sentence.evidence);
  return make("section", { class: "one" }, make("h4", { text: model }), make("p", { class: "said-there", dir: "auto", text }), sources(found, evidence));
}
