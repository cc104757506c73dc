// Curves of a training, drawn further while it goes on.

import { byId, make } from "./dom.js";
import { attempt, choose, read, words } from "./inside.js";
import { plot, short } from "./plot.js";

const POLL_MILLISECONDS = 2000;
const FIRST = ["train/loss", "held_out/bits_per_byte"]; // what is looked for before all else
let shown = null; // the run that is shown: its id, its rows, where they go on
let timer = 0;

await attempt(() => list());

async function list(chosen) {
  const { data } = await read("/v1/runs");
  if (!data.length) byId("content").replaceChildren(make("p", { text: "No training is known here: start the server with --runs FOLDER." }));
  await choose(data, (run) => run.id + (run.state === "making" ? " (in the making)" : ""), show, { chosen });
}

async function show(id) {
  shown = { id, rows: [], next: 0 };
  byId("content").replaceChildren(make("p", { id: "state", class: "help", "aria-live": "polite" }), make("div", { id: "plots" }));
  await follow(shown);
}

/** Read what is new and draw it; again in two seconds, as long as the run is in the making and on the screen. */
async function follow(run) {
  clearTimeout(timer);
  const found = await catchUp(run);
  if (run !== shown) return;
  if (found.id !== run.id) return list(found.id); // it was finished, and has another name now
  draw(run, found);
  if (found.state === "making") timer = setTimeout(() => attempt(() => follow(run)), POLL_MILLISECONDS);
}

async function catchUp(run) {
  for (;;) {
    const found = await read(`/v1/runs/${run.id.split("/").map(encodeURIComponent).join("/")}?after=${run.next}`);
    if (found.next < run.next) {
      run.rows = []; // it was resumed at an earlier step
      run.next = 0;
      continue;
    }
    run.rows.push(...found.rows);
    if (found.next === run.next) return found;
    run.next = found.next;
  }
}

function draw(run, { state, changed_seconds }) {
  const steps = run.rows.length ? `step ${run.rows.at(-1).step.toLocaleString("en")}` : "no step yet";
  byId("state").textContent = state === "making" ? `In the making: ${steps}, ${short(changed_seconds)} seconds ago.` : `Finished: ${steps}.`;
  const names = new Set(run.rows.flatMap((row) => Object.keys(row)));
  names.delete("step");
  const ordered = [...FIRST.filter((name) => names.has(name)), ...[...names].filter((name) => !FIRST.includes(name))];
  const figures = ordered.map((name) => {
    const points = run.rows.filter((row) => Number.isFinite(row[name])).map((row) => [row.step, row[name]]);
    return points.length > 1 && make("figure", {}, make("figcaption", { text: `${words(name)}: ${short(points.at(-1)[1])}` }), plot(words(name), points));
  });
  byId("plots").replaceChildren(...figures.filter(Boolean));
}
