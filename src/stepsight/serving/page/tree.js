// The candidates of a search as a tree that grows: a row for each step, the chosen line thick, one node in the tab order.
import { draw, make } from "./elements.js";
import { layout } from "./layout.js";

const STEP = 54;
const ROW = 84;
const RADIUS = 17;
const GUTTER = 104;
const MARGIN = 8;

export class Tree {
  /** `open` is called with a candidate when it is selected. */
  constructor(open) {
    this.#open = open;
    this.#edges = draw("g", { class: "edges", "aria-hidden": "true" });
    this.#names = draw("g", { class: "names", "aria-hidden": "true" });
    this.#nodes = draw("g", { role: "presentation" });
    this.#drawing = draw("svg", {
      role: "tree", "aria-label": "Candidates; arrow keys go from one to the next", keydown: (event) => this.#key(event),
    }, this.#edges, this.#names, this.#nodes);
    this.element = make("div", { class: "tree" }, this.#drawing);
  }

  #open;
  #edges;
  #names;
  #nodes;
  #drawing;
  #search;
  #shapes = new Map();
  #placed = new Map();
  #selected = null;

  show(search) {
    this.#search = search;
    const { placed, columns, rows } = layout(search.candidates.values());
    this.element.hidden = !placed.length;
    if (!placed.length) return;
    const width = GUTTER + columns * STEP + MARGIN;
    const height = rows * ROW + MARGIN;
    for (const [name, value] of [["viewBox", `0 0 ${width} ${height}`], ["width", width], ["height", height]]) {
      this.#drawing.setAttribute(name, value);
    }
    this.#placed = new Map(placed.map((one) => [one.candidate.id, {
      ...one, x: GUTTER + one.column * STEP, y: MARGIN + one.row * ROW + RADIUS + 2,
    }]));
    this.#selected ??= placed[0].candidate.id;
    this.#edges.replaceChildren(...[...this.#placed.values()].map((one) => this.#edge(one)).filter(Boolean));
    this.#names.replaceChildren(...this.#rowNames());
    for (const one of this.#placed.values()) this.#node(one);
  }

  /** Mark a candidate as the one that is looked at. */
  select(id, { focus = false } = {}) {
    this.#selected = id;
    for (const [other, shape] of this.#shapes) {
      shape.setAttribute("aria-selected", String(other === id));
      shape.setAttribute("tabindex", other === id ? "0" : "-1");
    }
    if (focus) this.#shapes.get(id)?.focus();
  }

  #edge({ candidate, x, y }) {
    const parent = this.#placed.get(candidate.parent);
    if (!parent) return null;
    const from = parent.y + RADIUS + (markOf(this.#search, parent.candidate.id) ? 18 : 0);
    const middle = (from + y - RADIUS) / 2;
    const chosen = this.#search.chosen.includes(candidate.id);
    return draw("path", {
      class: chosen ? "chosen" : null,
      d: `M${parent.x} ${from} C${parent.x} ${middle} ${x} ${middle} ${x} ${y - RADIUS}`,
    });
  }

  #rowNames() {
    const names = new Map();
    for (const { candidate, row, y } of this.#placed.values()) {
      if (!names.has(row)) names.set(row, { name: candidate.stage ?? "WHOLE ANSWER", y });
    }
    const rows = [...names.values()];
    return rows.filter(({ name }, row) => name !== rows[row - 1]?.name)
      .map(({ name, y }) => draw("text", { x: 2, y: y + 4 }, name));
  }

  #node({ candidate, x, y }) {
    const { id } = candidate;
    let shape = this.#shapes.get(id);
    if (!shape) {
      shape = draw("g", {
        role: "treeitem", "data-id": id,
        click: () => this.#choose(id), focus: () => { if (this.#selected !== id) this.#choose(id); },
      }, draw("circle", { r: RADIUS }), draw("text", { class: "id", y: 5 }, `#${id}`), draw("text", { class: "mark", y: RADIUS + 13 }));
      this.#shapes.set(id, shape);
      this.#nodes.append(shape);
    }
    const search = this.#search;
    const truth = search.truths[id];
    const classes = ["node", search.chosen.includes(id) && "chosen", search.twinOf(id) !== undefined && "twin",
      candidate.finish !== "stop" && "broken", truth === true && "true", truth === false && "untrue"];
    shape.setAttribute("class", classes.filter(Boolean).join(" "));
    shape.setAttribute("transform", `translate(${x} ${y})`);
    shape.setAttribute("aria-level", this.#placed.get(id).row + 1);
    shape.setAttribute("aria-label", nameOf(search, candidate));
    shape.setAttribute("aria-selected", String(id === this.#selected));
    shape.setAttribute("tabindex", id === this.#selected ? "0" : "-1");
    shape.lastChild.textContent = markOf(search, id);
  }

  #choose(id) {
    this.select(id, { focus: true });
    this.#open(this.#search.candidates.get(id));
  }

  #key(event) {
    const next = { ArrowUp: () => this.#above(), ArrowDown: () => this.#below(), ArrowLeft: () => this.#beside(-1),
      ArrowRight: () => this.#beside(1), Home: () => this.#ends()[0], End: () => this.#ends()[1],
      Enter: () => this.#selected, " ": () => this.#selected }[event.key]?.();
    if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#choose(next);
  }

  #above() {
    return this.#search.candidates.get(this.#selected).parent ?? undefined;
  }

  #below() {
    const children = [...this.#search.candidates.values()].filter((one) => one.parent === this.#selected);
    return (children.find((one) => this.#search.chosen.includes(one.id)) ?? children[0])?.id;
  }

  #beside(by) {
    const { row, column } = this.#placed.get(this.#selected);
    const row_ = [...this.#placed.values()].filter((one) => one.row === row).sort((one, other) => one.column - other.column);
    return row_[row_.findIndex((one) => one.column === column) + by]?.candidate.id;
  }

  #ends() {
    const ids = [...this.#search.candidates.keys()];
    return [ids[0], this.#search.chosen.at(-1) ?? ids.at(-1)];
  }
}

/** What stands below a node: its score, or wins and losses in comparisons; and whether it is true, where that is known. */
function markOf(search, id) {
  const score = search.scoreOf(id);
  const [wins, ties, losses] = search.tallyOf(id);
  const fared = wins + losses ? `${wins}–${losses}` : ties ? "tie" : "";
  const truth = { true: "✓", false: "✗" }[search.truths[id]] ?? "";
  return [score === undefined ? fared : Number(score).toFixed(2), truth].filter(Boolean).join(" ");
}

function nameOf(search, candidate) {
  const { id } = candidate;
  const score = search.scoreOf(id);
  const [wins, ties, losses] = search.tallyOf(id);
  const truth = search.truths[id];
  return [
    `${candidate.stage ?? "whole answer"}, candidate ${id}`,
    search.chosen.includes(id) ? "chosen" : "",
    score === undefined ? "" : `score ${Number(score).toFixed(2)}`,
    wins + ties + losses ? `${wins} won, ${ties} tied, ${losses} lost` : "",
    search.twinOf(id) === undefined ? "" : `the same words as ${search.twinOf(id)}`,
    truth === undefined || truth === null ? "" : truth ? "true of the picture" : "not true of the picture",
    candidate.finish === "stop" ? "" : "broken off",
  ].filter(Boolean).join(", ");
}
