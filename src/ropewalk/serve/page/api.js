// The server's API, as any client would use it.

const KEY = "ropewalk-key";

/** What the server refused, in its own sentence. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

export async function listModels() {
  return (await (await ask("/v1/models")).json()).data;
}

export async function listStarters() {
  return (await (await ask("/starters")).json()).starters;
}

export async function trace(model, text, about) {
  return (await ask("/v1/trace", { model, text, about })).json();
}

export async function listVocabularies() {
  return (await (await ask("/v1/vocabularies")).json()).data;
}

export async function cut(vocabulary, text, signal) {
  return (await ask("/v1/tokens", { vocabulary, text }, signal)).json();
}

/** Stream a chat completion: yields OpenAI's chunks. Aborting `signal` frees the model. */
export async function* chat(body, signal) {
  const response = await ask("/v1/chat/completions", { ...body, stream: true, logprobs: true, top_logprobs: 5 }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("The server went away in the middle of the answer.", 0);
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.slice("data: ".length);
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(chunk.error.message, 500);
      yield chunk;
    }
  }
}

async function ask(address, body, signal) {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  const post = body && { method: "POST", body: JSON.stringify(body), headers: { ...headers, "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(address, { headers, signal, ...post });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached: is it still running?", 0);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Refused(said?.error?.message ?? `The server answered with status ${response.status}.`, response.status);
}
