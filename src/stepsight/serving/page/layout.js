// Where the candidates of a search stand when it is drawn as a tree: a row for each step, families below their parents.

const BETWEEN = 0.4; // between two families, in columns

/** Candidates with `column` (the middle of the drawing is half of `columns`) and `row`; siblings stand side by side.
 *
 * Every row is centred, so that the drawing is no wider than its longest row, however often a search goes on with the
 * first or the last of many. Families stand in the order of their parents, so no two lines cross.
 */
export function layout(candidates) {
  const depths = new Map();
  const rows = [];
  for (const one of candidates) {
    const row = one.parent === null ? 0 : (depths.get(one.parent) ?? -1) + 1;
    depths.set(one.id, row);
    rows[row] ??= new Map();
    rows[row].set(one.parent, [...(rows[row].get(one.parent) ?? []), one]);
  }
  const columns = new Map();
  const widths = rows.map((families) =>
    [...families.values()].reduce((sum, children) => sum + children.length + BETWEEN, -BETWEEN));
  const widest = Math.max(0, ...widths);
  const placed = [];
  rows.forEach((families, row) => {
    let left = (widest - widths[row]) / 2;
    const ordered = [...families].sort(([one], [other]) => (columns.get(one) ?? 0) - (columns.get(other) ?? 0));
    for (const [, children] of ordered) {
      for (const candidate of children) {
        columns.set(candidate.id, left + 0.5);
        placed.push({ candidate, column: left + 0.5, row });
        left += 1;
      }
      left += BETWEEN;
    }
  });
  return { placed, columns: widest, rows: rows.length };
}
