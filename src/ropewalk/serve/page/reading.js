// What a model is sent of a conversation, and how its answer is drawn.

import { settings } from "./settings.js";

const MOST_CHARACTERS = 200000; // of all that is sent; the server takes 256,000 bytes at once
const LIVELY = 0.7; // where two answers to the same must be able to differ
const INVENTIVE = 0.9;

/** The messages of a branch as a model is sent them, behind the instructions that it is to follow. */
export function reading(branch, model) {
  const { system } = settings();
  const messages = branch.map(({ message: { reasoning_content: _, ...said } }) => said); // thoughts are read by nobody again
  let size = JSON.stringify(messages).length;
  while (size > MOST_CHARACTERS && messages.length > 1) size -= JSON.stringify(messages.shift()).length;
  return [...(system && model.converses ? [{ role: "system", content: system }] : []), ...messages];
}

/** How an answer to `branch` is drawn: the `number`-th of some side by side, or the `tries`-th in the same place. */
export function drawn(branch, { number, tries, ideas, alike }) {
  const { temperature, top_p, max_tokens, seed } = settings();
  const least = ideas ? INVENTIVE : alike || tries ? LIVELY : 0;
  return {
    temperature: ideas ? Math.max(temperature, least) : temperature || least,
    top_p,
    max_tokens,
    seed: seed + Math.floor(branch.length / 2) + number * 1_000_000 + tries * 1_000,
  };
}
