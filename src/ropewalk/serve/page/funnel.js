// What became of the pages on their way into the corpus: how many each stage left, why the others went, and samples.

import { byId, make } from "./dom.js";
import { bar, attempt, chooseModel, read, table, words } from "./inside.js";

await attempt(() => chooseModel(show));

async function show(model) {
  const found = await read(`/v1/funnel?model=${encodeURIComponent(model)}`);
  if (!found.available) return byId("content").replaceChildren(make("p", { text: `Nothing can be shown: ${found.reason}.` }));
  const all = found.stages[0]?.documents || 1;
  const stages = found.stages.map(({ stage, documents, bytes }) => [
    words(stage),
    documents,
    bar(documents / all),
    found.dropped[stage] ?? 0,
    `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`,
  ]);
  const rules = Object.entries(found.reasons).sort((left, right) => right[1] - left[1]);
  byId("content").replaceChildren(
    make("p", { class: "help", text: `The corpus ${found.corpus}, ${found.digest.slice(0, 12)}. Every page that came in is counted.` }),
    table("Pages left after each stage", ["stage", "pages", "", "dropped here", "text"], stages),
    table("Why pages were dropped", ["rule", "pages", ""], rules.map(([name, count]) => [words(name), count, bar(count / (rules[0]?.[1] || 1))])),
    make("h3", { text: "Samples" }),
    make("p", { class: "help", text: "Some pages of every rule, chosen by the hash of the page: for eyes." }),
    ...grouped(found.samples).map(([rule, samples]) => group(rule, samples)),
  );
}

/** Samples by rule, in the order of the stages. */
function grouped(samples) {
  const groups = new Map();
  for (const sample of samples) {
    const rule = [sample.stage, sample.reason].filter(Boolean).map(words).join(": ");
    groups.set(rule, [...(groups.get(rule) ?? []), sample]);
  }
  return [...groups];
}

function group(rule, samples) {
  const heading = make("summary", { text: `${rule} (${samples.length} shown)` });
  return make("details", { class: "samples" }, heading, make("ul", {}, ...samples.map(sampleItem)));
}

function sampleItem(sample) {
  const measured = sample.value !== null && sample.threshold !== null;
  const about = [
    `${sample.characters.toLocaleString("en")} characters`,
    measured && `measured ${number(sample.value)}, threshold ${number(sample.threshold)}`,
    sample.duplicate_of && `repeats ${sample.duplicate_of}`,
  ];
  return make(
    "li",
    {},
    make("p", { class: "url", text: sample.url }),
    make("p", { class: "help", text: about.filter(Boolean).join("; ") }),
    make("p", { class: "excerpt", dir: "auto", text: sample.text || "No text was found in it." }),
  );
}

const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });
