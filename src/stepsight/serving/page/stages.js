// The four stages of an answer: what is chosen, what is being written, what is still to come.
import { make } from "./elements.js";
import { STAGES } from "./staged.js";
import { textWithCells } from "./candidate.js";

export class Stages {
  constructor(light) {
    this.#light = light;
    this.#items = new Map(STAGES.map((stage) => [stage, make("li", { "data-stage": stage, "data-state": "to come" },
      make("h3", {}, stage), make("p", { class: "state soft" }), make("p", { class: "text" }))]));
    this.element = make("ol", { class: "stages" }, [...this.#items.values()]);
  }

  #light;
  #items;
  #shown = new Map();

  show(search, running) {
    const texts = search.stages;
    const { count, text } = search.writing;
    for (const [stage, item] of this.#items) {
      const own = texts.get(stage);
      const current = running && search.stage === stage;
      const state = own && !current ? "chosen" : current ? "being written" : own ? "chosen" : running ? "to come" : own ?? "not written";
      item.dataset.state = state;
      const [, note, body] = item.children;
      note.textContent = state === "being written" && count > 1 ? `${count} being written` : state === "chosen" ? "" : state;
      // Only what has changed is set anew: whoever is reading, or has marked a word, is left alone.
      const said = own ?? (current ? text : "");
      if (this.#shown.get(stage) === said) continue;
      this.#shown.set(stage, said);
      body.replaceChildren(...(said === own ? textWithCells(said, this.#light) : [said]));
    }
  }
}
