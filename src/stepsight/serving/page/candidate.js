// One candidate, opened: what it wrote, what was held of it, and by whom.
import { make } from "./elements.js";
import { cellPieces, cellsOf, plain, stagesOf } from "./staged.js";
import { compared } from "./words.js";

const ENDS = { stop: "", length: "cut off by a limit", error: "the model failed" };

/** The panel of a candidate. `light` is called with cells when a name of one is pointed at, with none afterwards. */
export function panelOf(search, candidate, light) {
  const chosen = search.chosen.includes(candidate.id);
  const twin = search.twinOf(candidate.id);
  const cells = cellsOf(candidate.text);
  return make("article", { class: `candidate panel${chosen ? " chosen" : ""}` },
    make("h3", {}, `${candidate.stage ?? "Whole answer"} #${candidate.id}`, make("span", { class: "soft" }, chosen ? " chosen" : " dropped")),
    make("ul", { class: "facts soft" }, factsOf(search, candidate).map((fact) => make("li", {}, fact))),
    twin === undefined ? null : make("p", { class: "soft" }, `The same words as #${twin}.`),
    textOf(search, candidate, chosen, light),
    cells.length ? make("p", { class: "soft" }, `Cells it names, lit in the picture: ${cells.join(", ")}.`) : null,
    comparisonsOf(search, candidate),
    evidenceOf(search, candidate));
}

function factsOf(search, candidate) {
  const verdict = search.verdictOf(candidate.id);
  const score = search.scoreOf(candidate.id);
  const truth = search.truths[candidate.id];
  return [
    candidate.parent === null ? "" : `continues #${candidate.parent}`,
    `${candidate.tokens} tokens`,
    candidate.logprob === null ? "" : `log-probability ${Number(candidate.logprob).toFixed(2)}`,
    score === undefined ? "" : `score ${Number(score).toFixed(3)}`,
    verdict ? `place ${verdict.order.indexOf(candidate.id) + 1} of ${verdict.order.length}, judge ${verdict.judge}` : "no verdict",
    verdict?.evidence.malformed?.[candidate.id] ?? "",
    truth === true ? "true of the picture" : truth === false ? "not true of the picture" : "",
    ENDS[candidate.finish],
  ].filter(Boolean);
}

function textOf(search, candidate, chosen, light) {
  const base = [...search.candidates.values()].find(
    (one) => one.parent === candidate.parent && one.stage === candidate.stage && search.chosen.includes(one.id));
  const whole = candidate.stage === null ? stagesOf(candidate.text) : new Map();
  const own = whole.size ? whole : new Map([["", plain(candidate.text)]]);
  const theirs = !base || chosen ? null : whole.size ? stagesOf(base.text) : new Map([["", plain(base.text)]]);
  const paragraphs = [...own].map(([stage, text]) => make("p", {},
    stage ? make("b", { class: "stage" }, `${stage} `) : null,
    theirs ? differences(theirs.get(stage) ?? "", text, light) : textWithCells(text, light)));
  const differs = theirs && plain(base.text) !== plain(candidate.text);
  return make("div", { class: "text" }, paragraphs,
    differs ? make("p", { class: "soft" }, `Marked: what the chosen #${base.id} does not say.`) : null);
}

/** A text whose cells can be pointed at. */
export function textWithCells(text, light) {
  return cellPieces(text).map(([piece, cell]) => !cell ? piece : make("span", {
    class: "cell-name", mouseenter: () => light([piece]), mouseleave: () => light(null),
  }, piece));
}

function differences(base, text, light) {
  return compared(base, text).flatMap(([word, same]) =>
    [same ? make("span", {}, textWithCells(word, light)) : make("mark", {}, textWithCells(word, light)), " "]);
}

function comparisonsOf(search, candidate) {
  const said = { won: "preferred to", lost: "after", tie: "level with", unreadable: "no readable verdict against" };
  const found = search.comparisonsOf(candidate.id);
  return found.length ? make("ul", { class: "comparisons" },
    found.map(({ other, how, reason }) => make("li", {}, `${said[how]} #${other}${reason ? `: ${reason}` : ""}`))) : null;
}

function evidenceOf(search, candidate) {
  const verdict = search.verdictOf(candidate.id);
  if (!verdict) return null;
  const own = verdict.comparisons.filter((one) => one.first === candidate.id || one.second === candidate.id);
  return make("details", {}, make("summary", {}, "The judge's evidence"),
    make("pre", { tabindex: "0" }, JSON.stringify({ ...verdict.evidence, comparisons: own }, null, 1)));
}
