// What this page asks its server, and what went wrong if it did not answer.
import { eventsOf } from "./events.js";

const KEPT = "stepsight.key";

/** Something that the server, or the way to it, had to say against a request. `status` 0: nothing was answered. */
export class ServerError extends Error {
  constructor(message, status = 0, hint = "") {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEPT, key);
}

export function forgetKey() {
  sessionStorage.removeItem(KEPT);
}

export const hasKey = () => sessionStorage.getItem(KEPT) !== null;

// Paths are relative, so that the page also works behind a proxy that has given it a folder.
async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEPT);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let reply;
  try {
    reply = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached.", 0, "Is it still running?");
  }
  if (!reply.ok) throw await refusal(reply);
  return reply;
}

async function refusal(reply) {
  let said = "";
  try {
    said = (await reply.json()).error.message;
  } catch { /* a proxy's words, not the server's */ }
  const wait = reply.headers.get("Retry-After");
  const hint = wait ? `Try again in ${wait} s.` : "";
  return new ServerError(said ? `${said[0].toUpperCase()}${said.slice(1)}.` : `The server answered ${reply.status}.`,
    reply.status, hint);
}

export const models = async () => (await (await ask("v1/models")).json()).data.map((model) => model.id);

/** A drawn picture with its question and all that is true of it. */
export const drawn = async (split, seed) =>
  (await ask(`v1/tabletop?${new URLSearchParams({ split, seed })}`)).json();

export const trace = async (id) => (await ask(`v1/traces/${id}`)).json();

export const tracePage = async (id) => (await ask(`v1/traces/${id}/page`)).blob();

/** Which candidates of a search are true of a drawn picture. */
export const truth = async (id, { split, seed }) =>
  (await (await ask(`v1/traces/${id}/truth?${new URLSearchParams({ split, seed })}`)).json()).candidates;

/** The chunks of an answer, as they come. */
export async function* chat(body, signal) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  const reply = await ask("v1/chat/completions", options);
  try {
    for await (const data of eventsOf(reply.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ServerError(`${chunk.error.message[0].toUpperCase()}${chunk.error.message.slice(1)}.`, 502);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof TypeError) throw new ServerError("The connection broke off.");
    throw error;
  }
  throw new ServerError("The connection broke off.");
}
