// How to search: a method of those that the server offers, how many candidates at a time, and who judges.
import { make } from "./elements.js";

const JUDGES = [["", "the server's choice"], ["self", "self: the model compares"], ["reward", "reward: a reward model"],
  ["likelihood", "likelihood"], ["written", "written: in words"]];

/** What the server's model names say: models, and the methods of each with their usual width. */
export function formsOf(names) {
  const models = new Map();
  for (const name of names) {
    const [model, method] = name.split("@");
    if (!models.has(model)) models.set(model, new Map());
    if (!method) continue;
    const [search, width] = method.split(":");
    models.get(model).set(search, width ?? "");
  }
  return models;
}

export class Method {
  constructor(fieldset, changed) {
    const name = (what) => `${fieldset.id}-${what}`;
    this.#search = make("select", { id: name("search"), change: () => { this.#usual(); changed(); } });
    this.#width = make("input", { id: name("width"), type: "number", min: 1, max: 64, change: changed });
    this.#judge = make("select", { id: name("judge"), change: changed },
      JUDGES.map(([value, text]) => make("option", { value }, text)));
    fieldset.append(
      make("label", { for: name("search") }, "Search", this.#search),
      make("label", { for: name("width") }, "Width", this.#width),
      make("label", { for: name("judge") }, "Judge", this.#judge));
  }

  #search;
  #width;
  #judge;
  #forms = new Map();
  #model = "";

  offer(models) {
    const options = [];
    for (const [model, forms] of models) {
      options.push(make("option", { value: `${model}@` }, models.size > 1 ? `${model}, the server's default` : "the server's default"));
      for (const [search, width] of forms) {
        this.#forms.set(`${model}@${search}`, width);
        options.push(make("option", { value: `${model}@${search}` }, models.size > 1 ? `${model}, ${search}` : search));
      }
    }
    this.#search.replaceChildren(...options);
    this.#usual();
  }

  choose({ search = "", width = "", judge = "" } = {}) {
    if ([...this.#search.options].some((option) => option.value === search)) this.#search.value = search;
    this.#usual();
    if (width && !this.#width.disabled) this.#width.value = width;
    this.#judge.value = judge;
  }

  /** Choose the first search of this name. */
  prefer(name) {
    const found = [...this.#search.options].find((option) => option.value.endsWith(`@${name}`));
    if (found) this.choose({ search: found.value });
  }

  get chosen() {
    return { search: this.#search.value, width: this.#width.disabled ? "" : this.#width.value, judge: this.#judge.value };
  }

  /** The model's name as the server reads it. */
  get asked() {
    const { search, width } = this.chosen;
    return search.endsWith("@") ? search.slice(0, -1) : `${search}${width ? `:${width}` : ""}`;
  }

  get judge() {
    return this.#judge.value;
  }

  #usual() {
    const width = this.#forms.get(this.#search.value) ?? "";
    this.#width.disabled = !width;
    this.#width.value = width;
  }
}
