// The picture that is asked about: dropped, pasted, chosen or drawn; and the cells of the drawn world's table on it.
import { draw, make } from "./elements.js";

const COLUMNS = "ABCDEFG";

/** The first picture among things dropped or pasted. */
export const pictureIn = (transfer) =>
  [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/") || /\.(tiff?|bmp|ppm)$/i.test(file.name));

/** A file as a `data:` URL. */
export const dataOf = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new Error("The file cannot be read."));
  reader.readAsDataURL(file);
});

export class Picture {
  constructor(figure) {
    this.#figure = figure;
    [this.#frame, this.#caption] = figure.children;
  }

  #figure;
  #frame;
  #caption;
  #grid = null;
  #named = [];

  show(url, caption) {
    this.#figure.classList.remove("empty");
    const image = make("img", { src: url, alt: "The picture that is asked about",
      error: () => { this.#caption.textContent = `${caption} This browser cannot show it; the server may be able to read it.`; } });
    this.#grid = grid();
    this.#frame.replaceChildren(image, this.#grid);
    this.#caption.textContent = caption;
    this.name([]);
  }

  clear(caption) {
    this.#figure.classList.add("empty");
    this.#frame.replaceChildren();
    this.#grid = null;
    this.#caption.textContent = caption;
  }

  /** Outline the cells that the answer's CAPTION names. The table's grid is shown as soon as one is named. */
  name(cells) {
    this.#named = cells;
    this.light(null);
  }

  /** Light up cells; null: those that are named stay outlined, and no more. */
  light(cells) {
    if (!this.#grid) return;
    this.#grid.toggleAttribute("hidden", !this.#named.length && !cells?.length);
    for (const cell of this.#grid.querySelectorAll(".cell")) {
      cell.classList.toggle("named", this.#named.includes(cell.dataset.cell));
      cell.classList.toggle("lit", cells?.includes(cell.dataset.cell) ?? false);
    }
  }
}

function grid() {
  const cells = [];
  const names = [];
  for (let place = 0; place < COLUMNS.length; place += 1) {
    names.push(draw("text", { x: place + 0.5, y: 0.3 }, COLUMNS[place]), draw("text", { x: 0.17, y: place + 0.6 }, `${place + 1}`));
    for (let row = 0; row < COLUMNS.length; row += 1) {
      cells.push(draw("rect", { class: "cell", "data-cell": `${COLUMNS[place]}${row + 1}`, x: place, y: row, width: 1, height: 1 }));
    }
  }
  return draw("svg", { class: "grid", viewBox: "0 0 7 7", preserveAspectRatio: "none", "aria-hidden": "true", hidden: true }, cells, names);
}
