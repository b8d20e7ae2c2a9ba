// One picture on the page: its boxes, and the list of its faces beside it.

const DENSE = 40; // with more boxes only the marked one has its score
const CROP_MARGIN = 0.25; // around a face in the list, in sides of its box
const CROP_PIXELS = 80;

const element = (id) => document.getElementById(id);

export class Stage {
  constructor() {
    this.frame = element("frame");
    this.image = element("picture");
    this.boxes = element("boxes");
    this.list = element("list");
    this.list.addEventListener("keydown", (event) => this.#moveMark(event));
    this.crops = new IntersectionObserver((entries) => this.#drawCrops(entries));
    this.marked = -1;
    this.shown = 0;
  }

  /** Shows a picture; its faces, once there are any, replace those before. */
  show(picture) {
    this.picture = picture;
    if (this.image.src !== picture.url) this.image.src = picture.url;
    this.image.alt = picture.name;
    this.frame.style.setProperty("--width", `${picture.width}px`);
    this.frame.style.setProperty("--ratio", picture.width / picture.height);
    const faces = picture.faces ?? [];
    this.crops.disconnect();
    this.boxes.replaceChildren(...faces.map((face, index) => this.#makeBox(face, index)));
    this.list.replaceChildren(...faces.map((face, index) => this.#makeRow(face, index)));
    this.mark(-1);
  }

  /** Shows the first faces only: they are sorted by score. */
  showFirst(number) {
    this.shown = number;
    for (const children of [this.boxes.children, this.list.children]) {
      [...children].forEach((child, index) => (child.hidden = index >= number));
    }
    this.boxes.classList.toggle("dense", number > DENSE);
    if (this.marked >= number) this.mark(-1);
  }

  /** Marks a face in the picture and in the list; -1: none. */
  mark(index) {
    for (const children of [this.boxes.children, this.list.children]) {
      children[this.marked]?.classList.remove("marked");
      children[index]?.classList.add("marked");
    }
    this.list.children[this.marked]?.setAttribute("aria-selected", "false");
    this.list.children[index]?.setAttribute("aria-selected", "true");
    if (index < 0) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", `face-${index}`);
    this.marked = index;
  }

  #makeBox({ bbox: [x1, y1, x2, y2], score }, index) {
    const { width, height } = this.picture;
    const box = document.createElement("div");
    box.className = "face";
    box.dataset.score = score.toFixed(2);
    box.style.left = `${(100 * x1) / width}%`;
    box.style.top = `${(100 * y1) / height}%`;
    box.style.width = `${(100 * (x2 - x1)) / width}%`;
    box.style.height = `${(100 * (y2 - y1)) / height}%`;
    box.style.zIndex = -index; // the best on top
    box.addEventListener("pointerenter", () => {
      this.mark(index);
      this.list.children[index].scrollIntoView({ block: "nearest" });
    });
    box.addEventListener("pointerleave", () => this.mark(-1));
    return box;
  }

  #makeRow({ bbox: [x1, y1, x2, y2], score }, index) {
    const row = document.createElement("li");
    row.id = `face-${index}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    const crop = document.createElement("canvas");
    crop.width = crop.height = CROP_PIXELS;
    const size = document.createElement("span");
    size.textContent = `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)}`;
    const text = document.createElement("b");
    text.textContent = score.toFixed(2);
    row.append(crop, size, text);
    row.addEventListener("pointerenter", () => this.mark(index));
    row.addEventListener("pointerleave", () => this.mark(-1));
    this.crops.observe(row);
    return row;
  }

  /** Draws the faces of rows that come into view: there may be hundreds. */
  async #drawCrops(entries) {
    const rows = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    const { picture } = this;
    if (!rows.length || !(await this.image.decode().then(() => true, () => false))) return;
    if (picture !== this.picture) return; // another one was chosen meanwhile
    for (const row of rows) {
      this.crops.unobserve(row);
      const [x1, y1, x2, y2] = picture.faces[Number(row.id.slice("face-".length))].bbox;
      const side = Math.max(x2 - x1, y2 - y1) * (1 + 2 * CROP_MARGIN);
      const [left, top] = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2];
      const canvas = row.firstElementChild;
      canvas
        .getContext("2d")
        .drawImage(this.image, left, top, side, side, 0, 0, CROP_PIXELS, CROP_PIXELS);
    }
  }

  #moveMark(event) {
    const last = this.shown - 1;
    const targets = { ArrowDown: this.marked + 1, ArrowUp: this.marked - 1, Home: 0, End: last };
    if (!(event.key in targets) || last < 0) return;
    event.preventDefault();
    this.mark(Math.min(Math.max(targets[event.key], 0), last));
    this.list.children[this.marked].scrollIntoView({ block: "nearest" });
  }
}
