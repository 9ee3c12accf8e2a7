// The four stages in a text, and the cells of the drawn world's table that it names.

export const STAGES = ["SUMMARY", "CAPTION", "REASONING", "CONCLUSION"];

const STAGE = new RegExp(`<(${STAGES.join("|")})>([^]*?)(?:</\\1>|$)`, "g");
const TAG = new RegExp(`</?(?:${STAGES.join("|")})>`, "g");
const UNFINISHED = /<[/A-Z]*$/;
const CELL = /\b[A-G][1-7]\b/g;

/** Texts by stage, in order; the first of each counts. */
export function stagesOf(text) {
  const found = new Map();
  for (const [, stage, inner] of text.matchAll(STAGE)) {
    if (!found.has(stage)) found.set(stage, plain(inner));
  }
  return found;
}

/** A text without tags, and without one that has just begun. */
export const plain = (text) => text.replace(TAG, "").replace(UNFINISHED, "").trim();

/** The cells that a text names, each once. */
export const cellsOf = (text) => [...new Set(text.match(CELL) ?? [])];

/** A text taken apart at the cells that it names: [piece, is it a cell]. */
export function cellPieces(text) {
  const pieces = [];
  let from = 0;
  for (const found of text.matchAll(CELL)) {
    pieces.push([text.slice(from, found.index), false], [found[0], true]);
    from = found.index + found[0].length;
  }
  pieces.push([text.slice(from), false]);
  return pieces.filter(([piece]) => piece);
}
