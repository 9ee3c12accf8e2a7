// What is known of one search: from the chunks of its stream as they come, or from a trace that the server kept.
import { STAGES, plain, stagesOf } from "./staged.js";

export class Search {
  constructor() {
    this.candidates = new Map();
    this.verdicts = [];
    this.chosen = [];
    this.stage = undefined; // being written; null: a whole answer
    this.retraces = 0;
    this.report = null;
    this.usage = null;
    this.truths = {};
    this.text = "";
  }

  #said = "";
  #written = new Map();

  /** Take the next chunk; what is worth saying aloud of it, if anything. */
  take(chunk) {
    if (chunk.usage) this.usage = chunk.usage;
    this.#said += chunk.choices[0]?.delta.content ?? "";
    if (this.#said.length > this.text.length) this.text = this.#said;
    const event = chunk.stepsight;
    if (!event) return "";
    if (!event.type) {
      this.report = event;
      this.stage = undefined;
      this.text = this.#said;
      return "";
    }
    return this["_" + event.type]?.(event) ?? "";
  }

  _stage_started({ stage }) {
    const news = this.stage !== stage;
    this.stage = stage;
    this.#written.clear();
    return news ? `${stage ?? "The answer"} is being written` : "";
  }

  _text({ slot, text }) {
    this.#written.set(slot, (this.#written.get(slot) ?? "") + text);
  }

  _candidate({ candidate, slot }) {
    this.candidates.set(candidate.id, candidate);
    this.#written.delete(slot);
  }

  _verdict({ verdict }) {
    this.verdicts.push(verdict);
  }

  _stage_chosen({ stage, candidate, answer }) {
    this.chosen = this.pathTo(candidate);
    this.text = answer;
    const of = [...this.candidates.values()].filter((one) => one.parent === this.candidates.get(candidate)?.parent);
    return `${stage ?? "The answer"} is chosen: candidate ${candidate} of ${of.length}`;
  }

  _retrace({ stage }) {
    this.retraces += 1;
    return `The search goes back to ${stage ?? "the beginning"}`;
  }

  /** What is being written now, by the candidate that is furthest; and by how many. */
  get writing() {
    const texts = [...this.#written.values()];
    const longest = texts.reduce((one, other) => (other.length > one.length ? other : one), "");
    return { count: texts.length, text: plain(longest) };
  }

  get stages() {
    return stagesOf(this.text);
  }

  get conclusion() {
    return this.stages.get(STAGES.at(-1));
  }

  pathTo(id) {
    const path = [];
    for (let at = id; at !== null && at !== undefined && this.candidates.has(at); at = this.candidates.get(at).parent) {
      path.unshift(at);
    }
    return path;
  }

  /** The verdict in which a candidate stands: that of its own stage, or else that between whole answers. */
  verdictOf(id) {
    const found = this.verdicts.filter((verdict) => verdict.order.includes(id));
    return found.find((verdict) => verdict.stage !== null) ?? found[0];
  }

  scoreOf(id) {
    const verdict = this.verdictOf(id);
    return verdict?.scores ? verdict.scores[verdict.order.indexOf(id)] : undefined;
  }

  /** How a candidate fared in comparisons: [wins, ties, losses]. */
  tallyOf(id) {
    const tally = [0, 0, 0];
    for (const one of this.comparisonsOf(id)) tally[{ won: 0, tie: 1, lost: 2 }[one.how] ?? 1] += 1;
    return tally;
  }

  /** Its comparisons from its own side. */
  comparisonsOf(id) {
    return (this.verdictOf(id)?.comparisons ?? []).filter((one) => one.first === id || one.second === id).map((one) => {
      const own = one.first === id ? "first" : "second";
      const decided = one.outcome === "first" || one.outcome === "second";
      return {
        other: own === "first" ? one.second : one.first,
        how: decided ? (one.outcome === own ? "won" : "lost") : one.outcome,
        reason: one.reason,
        evidence: one.evidence,
      };
    });
  }

  /** The first sibling that wrote the same words, if a candidate is not the first. */
  twinOf(id) {
    const own = this.candidates.get(id);
    for (const one of this.candidates.values()) {
      if (one.id === id) return undefined;
      if (one.parent === own.parent && one.stage === own.stage && plain(one.text) === plain(own.text)) return one.id;
    }
    return undefined;
  }
}

/** The same from a trace, as the server keeps them. */
export function searchOf(trace, report) {
  const search = new Search();
  for (const one of trace.candidates) search.candidates.set(one.id, { ...one, text: one.piece.text });
  search.verdicts = trace.verdicts;
  search.chosen = trace.chosen;
  search.text = trace.chosen.map((id) => search.candidates.get(id).text).join("");
  search.usage = { search: trace.usage };
  search.report = report;
  const places = trace.candidates.map((one) => STAGES.indexOf(one.stage));
  search.retraces = places.filter((place, index) => place < places[index - 1]).length;
  return search;
}
