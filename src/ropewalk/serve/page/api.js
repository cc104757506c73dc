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

export async function aboutFeedback() {
  return (await ask("/v1/feedback")).json();
}

/** Keep a judgement. Returns the id by which it is taken back. */
export async function judge(judgement) {
  return (await (await ask("/v1/feedback", judgement)).json()).id;
}

export async function retract(id) {
  await ask(`/v1/feedback/${id}`, null, null, "DELETE");
}

export async function listVocabularies() {
  return (await (await ask("/v1/vocabularies")).json()).data;
}

export async function cut(vocabulary, text, signal) {
  return (await ask("/v1/tokens", { vocabulary, text }, signal)).json();
}

const CONVERSATIONS = "/v1/conversations";

export async function listConversations(search) {
  return (await ask(`${CONVERSATIONS}?search=${encodeURIComponent(search)}`)).json();
}

export async function getConversation(id) {
  return (await ask(`${CONVERSATIONS}/${id}`)).json();
}

export async function beginConversation() {
  return (await ask(CONVERSATIONS, {})).json();
}

export async function changeConversation(id, change) {
  return (await ask(`${CONVERSATIONS}/${id}`, change, null, "PATCH")).json();
}

export async function deleteConversation(id) {
  await ask(`${CONVERSATIONS}/${id}`, null, null, "DELETE");
}

export async function addMessage(id, message) {
  return (await ask(`${CONVERSATIONS}/${id}/messages`, message)).json();
}

export async function exportConversation(id, form) {
  return (await ask(`${CONVERSATIONS}/${id}/export?form=${form}`)).blob();
}

export async function measureContext(body) {
  return (await ask("/v1/context", body)).json();
}

export async function markdown(text) {
  return (await ask("/v1/markdown", { text })).json();
}

export async function listTools(model) {
  return (await ask(`/v1/tools?model=${encodeURIComponent(model)}`)).json();
}

export async function callTool(call) {
  return (await ask("/v1/tools", call)).json();
}

export async function runProgram(code) {
  return (await ask("/v1/run", { code })).json();
}

/** A chat completion in one piece. */
export async function complete(body) {
  return (await ask("/v1/chat/completions", body)).json();
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

/** Ask an address, with the key; a body is sent as JSON. */
export async function ask(address, body, signal, method = body ? "POST" : "GET") {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  const sent = body && { body: JSON.stringify(body), headers: { ...headers, "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(address, { method, headers, signal, ...sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached: is it still running?", 0);
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Refused(said?.error?.message ?? `The server answered with status ${response.status}.`, response.status);
}
