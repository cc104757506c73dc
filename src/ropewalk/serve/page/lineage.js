// A model and all that it was made from, down to the pages.

import { byId, make } from "./dom.js";
import { attempt, chooseModel, read, words } from "./inside.js";
import { short } from "./plot.js";

await attempt(() => chooseModel(show));

async function show(model) {
  const { artifacts, missing } = await read(`/v1/lineage?model=${encodeURIComponent(model)}`);
  const byDigest = new Map(artifacts.map((artifact) => [artifact.digest, artifact]));
  const told = new Set();
  byId("content").replaceChildren(
    ...missing.map((sentence) => make("p", { class: "failure", text: `${sentence}.` })),
    artifacts.length
      ? make("ul", { class: "lineage" }, item(artifacts[0], "", byDigest, told))
      : make("p", { text: "This model was made elsewhere: what it was made from is not known here." }),
  );
}

/** An artifact's item, and below it those of its inputs. One that stood above already is named only. */
function item(artifact, name, byDigest, told) {
  const before = told.has(artifact.digest);
  told.add(artifact.digest);
  const heading = make(
    "p",
    {},
    make("span", { class: "help", text: name ? `${words(name)}: ` : "" }),
    make("strong", { text: artifact.name }),
    make("span", { class: "help", text: ` ${artifact.kind} ${artifact.digest.slice(0, 12)}${before ? ", as above" : ""}` }),
  );
  if (before) return make("li", {}, heading);
  const facts = Object.entries(artifact.facts).slice(0, 6).map(([fact, value]) => `${words(fact)} ${short(value)}`);
  const made = `made in ${short(artifact.seconds)} s, ${artifact.finished.replace("T", " ").replace("Z", " UTC")}`;
  const inputs = artifact.inputs.map((input) => inputItem(input, byDigest, told));
  return make("li", {}, heading, make("p", { class: "help", text: [...facts, made].join(", ") }), ...(inputs.length ? [make("ul", {}, ...inputs)] : []));
}

function inputItem(input, byDigest, told) {
  const source = byDigest.get(input.digest);
  if (source) return item(source, input.shown ? `${input.name} (${input.shown})` : input.name, byDigest, told);
  return make("li", {}, make("p", {}, make("span", { class: "help", text: `${words(input.name)}: ` }), `${input.shown} (${input.kind})`));
}
