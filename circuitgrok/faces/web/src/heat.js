// Tables of numbers as pictures: cividis for sizes, blue to orange about zero for signed numbers.

import { h } from "./dom.js";
import { short } from "./time.js";

const CIVIDIS =
  "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838";
const ABOUT_ZERO = "0b3c6f 1f5f9b 4a86bd 86b0d6 bfd6e8 eef0f0 f5d9bd eeb27d dd843f c45a16 8a3a06";
const stops = (text) => text.split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

function table(text) {
  const given = stops(text),
    n = given.length - 1,
    colours = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * n,
      low = Math.min(n - 1, Math.floor(place)),
      share = place - low;
    for (let c = 0; c < 3; c++)
      colours[3 * i + c] = Math.round(given[low][c] * (1 - share) + given[low + 1][c] * share);
  }
  return colours;
}

const SIZES = table(CIVIDIS),
  SIGNED = table(ABOUT_ZERO);
const gradient = (text) =>
  `linear-gradient(to right, ${text
    .split(" ")
    .map((hex) => `#${hex}`)
    .join(",")})`;

/** The least and largest of some finite numbers; signed ones as far below zero as above. */
export function limits(values, signed) {
  let low = Infinity,
    high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!(high >= low)) return [0, 1];
  if (signed) {
    const size = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return [-size, size];
  }
  return high > low ? [low, high] : [low, low + 1];
}

/**
 * An empty picture. `draw` takes `{values, rows, columns, signed, limits, mark: [row, column], read}`, where `read(row,
 * column, value)` is the text under the pointer; rows run downwards, columns to the right, both from `first`.
 */
export function heat({ label, rowLabel, columnLabel, pick, bar = true, small = false }) {
  const canvas = h("canvas", { role: "img", "aria-label": label });
  const mark = h("i", { class: "mark", hidden: true });
  const frame = h("div", { class: "frame" }, canvas, mark);
  const reading = h("span", { class: "reading" });
  const [low, high] = [h("span"), h("span")];
  const scale = h("i", { class: "scale" });
  const title = small ? h("div", { class: "small-title" }) : null;
  const el = h(
    "figure",
    { class: small ? "heat small" : "heat" },
    title,
    h("div", { class: "row-label", text: rowLabel }),
    frame,
    h("div", { class: "column-label", text: columnLabel }),
    bar ? h("div", { class: "bar" }, low, scale, high, reading) : null,
  );
  let last;

  function draw(given) {
    last = given;
    const { values, rows, columns, signed = false } = given;
    const [from, to] = given.limits ?? limits(values, signed);
    const colours = signed ? SIGNED : SIZES;
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let i = 0; i < rows * columns; i++) {
      const value = values[i];
      const known = Number.isFinite(value);
      const place = 3 * Math.max(0, Math.min(255, Math.round(((value - from) / (to - from || 1)) * 255)));
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = known ? colours[place + c] : 128;
      image.data[4 * i + 3] = known ? 255 : 40;
    }
    context.putImageData(image, 0, 0);
    frame.style.aspectRatio = `${columns} / ${rows}`;
    low.textContent = short(from);
    high.textContent = short(to);
    scale.style.background = gradient(signed ? ABOUT_ZERO : CIVIDIS);
    if (title) title.textContent = given.title ?? "";
    mark.hidden = !given.mark;
    if (given.mark) {
      mark.style.left = `${((given.mark[1] + 0.5) / columns) * 100}%`;
      mark.style.top = `${((given.mark[0] + 0.5) / rows) * 100}%`;
    }
    read(given.mark);
  }

  function read(place) {
    const text =
      place && last.read ? last.read(place[0], place[1], last.values[place[0] * last.columns + place[1]]) : "";
    reading.textContent = text;
  }

  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * last.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * last.columns);
    return row >= 0 && column >= 0 && row < last.rows && column < last.columns ? [row, column] : undefined;
  };
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const place = placeOf(event);
    read(place ?? last.mark);
    if (title && place && last.read)
      canvas.title = last.read(...place, last.values[place[0] * last.columns + place[1]]);
  });
  canvas.addEventListener("pointerleave", () => last && read(last.mark));
  if (pick) {
    canvas.classList.add("picked");
    canvas.addEventListener("click", (event) => {
      const place = last && placeOf(event);
      if (place) pick(...place);
    });
  }
  return { el, draw };
}

/** The colour of a share of 0..1, and the ink that is read on it. */
export function colourOf(share) {
  const place = 3 * Math.max(0, Math.min(255, Math.round(share * 255)));
  const [red, green, blue] = SIZES.subarray(place, place + 3);
  return {
    css: `rgb(${red} ${green} ${blue})`,
    ink: 0.299 * red + 0.587 * green + 0.114 * blue < 128 ? "#fff" : "#000",
  };
}
