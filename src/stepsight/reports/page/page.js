// Light up the cells that a text names, while the pointer or the keyboard is on it.
for (const card of document.querySelectorAll(".card[data-cells]")) {
  const cells = card.dataset.cells.split(" ").map((name) => document.getElementById("cell-" + name)).filter(Boolean);
  const set = (on) => () => cells.forEach((cell) => cell.classList.toggle("lit", on));
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) {
    card.addEventListener(name, set(on));
  }
}
