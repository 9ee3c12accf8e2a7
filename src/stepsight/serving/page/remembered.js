// What a reload brings back: the last question, its picture, how it was asked, and which searches answered it.
// It is kept for this tab alone, and goes with it.

const KEPT = "stepsight.last";

export function remember(state) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(state));
  } catch {
    // The picture is too large for it; the rest is worth keeping without.
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ ...state, picture: null, results: [] }));
    } catch { /* then nothing comes back */ }
  }
}

export function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}
