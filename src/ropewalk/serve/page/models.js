// What the server offers: its models, which of them is chosen, and whether it runs programs.

import { listModels, listTools } from "./api.js";
import { byId, make, sentence } from "./dom.js";

const models = new Map();
export const server = { runsCode: false };

/** Ask for the models, and list them where one is chosen and where another is to be compared with. */
export async function loadModels() {
  for (const model of await listModels()) {
    models.set(model.id, model);
    byId("model").append(make("option", { value: model.id, text: model.label }));
    byId("rival").append(make("option", { value: model.id, text: `with ${model.label}` }));
  }
}

export async function askWhatRuns() {
  server.runsCode = (await listTools(chosen().id)).runs_code;
}

export const chosen = () => models.get(byId("model").value);

/** The model that a message names, be it served or not. */
export const served = (name) => models.get(name) ?? { id: name ?? "a model", gone: true };

/** The model to compare with: another one, or the same again; null where none is wanted. */
export const rivalOf = (model) => models.get(byId("rival").value) ?? (byId("rival").value ? model : null);

/** Say what the chosen model is. */
export function introduce() {
  const model = chosen();
  const size = model.upstream ? `at ${model.upstream}` : `${model.parameters.toLocaleString("en")} parameters`;
  const origin = model.third_party
    ? `${model.id} was made elsewhere (${size}): its answers cannot be followed back to pages.`
    : model.traceable
      ? `${model.id} (${size}) was trained here. Its answers lead to the pages that they occur in.`
      : `${model.id} (${size}) was trained here. ${sentence(model.untraceable)}`;
  const manner = model.converses ? "" : " It has read pages but no conversations: it continues your text.";
  byId("about").textContent = origin + manner;
  byId("examples").hidden = !model.converses;
}
