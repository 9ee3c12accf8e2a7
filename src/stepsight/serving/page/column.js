// One search on the page: its stages as they are chosen, its tree, the candidate that is open, what it cost.
import { Search, searchOf } from "./search.js";
import { Stages } from "./stages.js";
import { Tree } from "./tree.js";
import { cellsOf, plain } from "./staged.js";
import { hasKey, tracePage } from "./server.js";
import { make } from "./elements.js";
import { panelOf } from "./candidate.js";

const FRAME = 60; // milliseconds: a fast model writes far more often than anybody can look

export class Column {
  /** `place` tells columns apart; `light` and `name` are those of the picture; `say` speaks to screen readers. */
  constructor(title, place, { light, name, say }) {
    this.title = title;
    this.search = new Search();
    this.#say = say;
    this.#light = light;
    this.#name = name;
    this.#stages = new Stages(light);
    this.#tree = new Tree((candidate) => this.open(candidate));
    this.#heading = make("h2", { id: `search-${place}` }, title);
    this.#status = make("p", { class: "status soft" }, "waiting for the server");
    this.#answer = make("p", { class: "answer" });
    this.#notes = make("ul", { class: "notes soft" });
    this.#trouble = make("p", { class: "bad", role: "alert" });
    this.#opened = make("div", { class: "opened" });
    this.#actions = make("div", { class: "row" });
    this.element = make("section", { class: "search", "aria-labelledby": `search-${place}`, "aria-busy": "true" },
      this.#heading, this.#status, this.#trouble, this.#answer, this.#stages.element,
      this.#tree.element, this.#opened, this.#notes, this.#actions);
    this.#tree.show(this.search);
  }

  #say;
  #light;
  #name;
  #stages;
  #tree;
  #heading;
  #status;
  #answer;
  #notes;
  #trouble;
  #opened;
  #actions;
  #running = true;
  #drawing = 0;
  #looked = false;
  #began = performance.now();

  get traceId() {
    return this.search.report?.trace_id ?? "";
  }

  take(chunk) {
    const said = this.search.take(chunk);
    if (said) this.#say(`${this.title}: ${said}`);
    this.#drawing ||= setTimeout(() => this.#show(), FRAME);
  }

  /** The search is over; `known` is the right answer, where there is one. */
  finish(known) {
    this.#end("done");
    const { conclusion, report, usage } = this.search;
    this.#answer.replaceChildren(conclusion ? `Answer: ${conclusion}` : "No conclusion was written.",
      make("small", { class: "soft" }, known ? ` known answer: ${known}` : ""));
    this.#heading.textContent = report?.method ?? this.title;
    const tokens = usage?.search;
    this.#status.textContent = [
      report?.seconds === undefined ? "" : `${report.seconds.toFixed(2)} s`,
      tokens ? `tokens: ${tokens.kept} kept, ${tokens.discarded} discarded, ${tokens.judge} judge, ${tokens.cached} cached` : "",
      this.search.retraces ? `went back ${this.search.retraces} times` : "",
      report?.spending ? `ended by: ${report.spending.ended_by}` : "",
    ].filter(Boolean).join(" · ");
    this.#notes.replaceChildren(...[...(report?.faults ?? []), ...(report?.notes ?? [])].map((note) => make("li", {}, note)));
    this.#offer();
    this.#say(`${this.title}: the answer is ${conclusion ?? "missing"}`);
  }

  fail(error) {
    this.#end("failed");
    this.#status.textContent = "failed";
    this.#trouble.textContent = [error.message, error.hint].filter(Boolean).join(" ");
  }

  stop() {
    this.#end("stopped");
    this.#status.textContent = "stopped";
    this.#say(`${this.title}: stopped`);
  }

  /** Show a search that was over before. */
  restore(trace, report, known) {
    this.search = searchOf(trace, report);
    this.finish(known);
  }

  /** Mark what is true of the drawn picture, and what is not. */
  judge(truths) {
    this.search.truths = truths;
    this.#tree.show(this.search);
    const right = truths[this.search.chosen.at(-1)];
    if (right !== true && right !== false) return;
    const [{ textContent: known }] = this.#answer.getElementsByTagName("small");
    this.#answer.lastChild.replaceChildren(make("span", { class: right ? "good" : "bad" }, right ? " right" : " wrong"), known && `;${known}`);
  }

  /** Look at a candidate. */
  open(candidate) {
    this.#looked = true;
    this.#tree.select(candidate.id);
    this.#opened.replaceChildren(panelOf(this.search, candidate, (cells) => this.#light(cells ?? cellsOf(candidate.text))));
    this.#light(cellsOf(candidate.text));
  }

  #end(state) {
    clearTimeout(this.#drawing);
    this.#running = false;
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", "false");
    this.#show();
  }

  #show() {
    this.#drawing = 0;
    const { search } = this;
    this.#stages.show(search, this.#running);
    this.#tree.show(search);
    const caption = search.stages.get("CAPTION");
    if (caption && !this.#looked) this.#name(cellsOf(plain(caption)));
    if (this.#running) {
      const seconds = (performance.now() - this.#began) / 1000;
      this.#status.textContent = `${search.candidates.size} candidates · ${seconds.toFixed(1)} s`;
    }
  }

  #offer() {
    if (!this.traceId) return;
    const save = make("button", { type: "button", click: () => this.#save() }, "Save as one HTML file");
    // A new tab cannot send the key along.
    const look = hasKey() ? null : make("a", { href: `v1/traces/${this.traceId}/page`, target: "_blank", rel: "noopener" }, "Open as a page");
    this.#actions.replaceChildren(save, ...(look ? [look] : []));
  }

  async #save() {
    try {
      const url = URL.createObjectURL(await tracePage(this.traceId));
      make("a", { href: url, download: `stepsight-${this.title.replace(/[^a-z0-9.-]+/gi, "-")}.html` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      this.#trouble.textContent = error.message;
    }
  }
}
