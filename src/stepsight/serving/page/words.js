// Which words two texts share: the longest common run of words, in order.

const MOST = 600;

/** The words of `text`, each with whether `base` has it too, in that place. Long texts are not taken apart. */
export function compared(base, text) {
  const one = base.split(/\s+/).filter(Boolean);
  const other = text.split(/\s+/).filter(Boolean);
  if (one.length > MOST || other.length > MOST) return other.map((word) => [word, true]);
  const longest = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
  for (let i = one.length - 1; i >= 0; i -= 1) {
    for (let j = other.length - 1; j >= 0; j -= 1) {
      longest[i][j] = one[i] === other[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const found = [];
  let i = 0;
  for (let j = 0; j < other.length; j += 1) {
    while (i < one.length && one[i] !== other[j] && longest[i + 1][j] >= longest[i][j + 1]) i += 1;
    const same = i < one.length && one[i] === other[j];
    if (same) i += 1;
    found.push([other[j], same]);
  }
  return found;
}
