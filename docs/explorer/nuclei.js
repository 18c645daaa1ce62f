"use strict";
// Regions dragged over a real image: every pixel gets the label of the region that its value, or its pair of values, lies in.

const DATA = JSON.parse(document.getElementById("data").textContent);
const by = id => document.getElementById(id);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const grey = bytes(DATA.grey), around = bytes(DATA.around), truth = bytes(DATA.truth), side = DATA.side;
const KINDS = {
  intervals: {
    label: "by intervals", sliders: [["threshold", "R₁ begins at", 60]],
    hint: "R₀ is everything darker than the threshold, R₁ the rest. Where does the IoU peak, and which nuclei does one threshold never find?",
    label_of: ([t]) => k => (grey[k] < t ? 0 : 1),
  },
  prototypes: {
    label: "by prototypes",
    sliders: [["grey0", "background: grey value", 20], ["mean0", "its surroundings", 25], ["grey1", "nucleus: grey value", 100], ["mean1", "its surroundings", 90]],
    hint: "A pixel is a point: its grey value to the right, the mean of the 7 × 7 pixels around it upwards. It belongs to the prototype that is nearer.",
    label_of: ([a0, b0, a1, b1]) => k => ((grey[k] - a0) ** 2 + (around[k] - b0) ** 2 <= (grey[k] - a1) ** 2 + (around[k] - b1) ** 2 ? 0 : 1),
  },
};
const state = {kind: "intervals", values: Object.fromEntries(Object.entries(KINDS).map(([kind, {sliders}]) => [kind, sliders.map(([, , first]) => first)])), held: -1};

function labels(kind, values) {
  const of = KINDS[kind].label_of(values);
  return Uint8Array.from(grey, (_, k) => of(k));
}
// Pixels that are found, missed and false, of class 1.
function count(found) {
  let hit = 0, miss = 0, wrong = 0;
  found.forEach((label, k) => { hit += label & truth[k]; miss += truth[k] & (1 - label); wrong += label & (1 - truth[k]); });
  return {hit, miss, wrong, iou: hit / Math.max(1, hit + miss + wrong)};
}
// Compares with what label.intervals and label.prototypes of the library found for some regions.
function compare() {
  const right = DATA.golden.filter(({kind, values, hit, miss, wrong}) => {
    const mine = count(labels(kind, values));
    return mine.hit === hit && mine.miss === miss && mine.wrong === wrong;
  }).length, all = DATA.golden.length;
  by("golden").className = right === all ? "good" : "bad";
  by("golden").textContent = right === all ? `✓ ${all} of ${all} label maps equal those of label.intervals and label.prototypes` : `✗ ${all - right} of ${all} label maps differ`;
  document.body.dataset.compared = `${right}/${all}`;
}

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
function paintImage(found) {
  const context = by("image").getContext("2d"), image = context.createImageData(side, side);
  found.forEach((label, k) => {
    const light = Math.min(255, 1.6 * grey[k]), tint = label && truth[k] ? [0, 170, 90] : truth[k] ? [240, 170, 0] : label ? [210, 40, 110] : null;
    image.data.set(tint ? tint.map(c => 0.55 * c + 0.45 * light) : [light, light, light], 4 * k);
    image.data[4 * k + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}
function paintValues() {
  const context = by("values").getContext("2d"), values = state.values[state.kind], size = 256;
  context.fillStyle = "#101216";
  context.fillRect(0, 0, size, size);
  if (state.kind === "intervals") {
    const counts = [new Uint32Array(256), new Uint32Array(256)];
    grey.forEach((v, k) => (counts[truth[k]][v] += 1));
    const most = Math.log1p(Math.max(...counts[0], ...counts[1]));
    counts.forEach((of, label) => of.forEach((n, v) => {
      context.fillStyle = label ? "#f0aa00" : "#7f8794";
      context.fillRect(v, size - 240 * Math.log1p(n) / most, 1, label ? 3 : 240 * Math.log1p(n) / most);
    }));
    context.fillStyle = "#ff7ab8";
    context.fillRect(values[0] - 1, 0, 3, size);
    return;
  }
  const [a0, b0, a1, b1] = values;
  grey.forEach((v, k) => { context.fillStyle = truth[k] ? "rgba(240,170,0,.35)" : "rgba(150,160,175,.2)"; context.fillRect(v, size - 1 - around[k], 1, 1); });
  context.strokeStyle = "#ff7ab8"; // the points that are equally far from both
  context.beginPath();
  const [mx, my, dx, dy] = [(a0 + a1) / 2, (b0 + b1) / 2, a1 - a0, b1 - b0], length = Math.hypot(dx, dy) || 1;
  context.moveTo(mx - 400 * dy / length, size - 1 - my - 400 * dx / length);
  context.lineTo(mx + 400 * dy / length, size - 1 - my + 400 * dx / length);
  context.stroke();
  [["0", a0, b0], ["1", a1, b1]].forEach(([name, a, b]) => {
    context.fillStyle = "#ff7ab8";
    context.beginPath();
    context.arc(a, size - 1 - b, 7, 0, 7);
    context.fill();
    context.fillStyle = "#101216";
    context.font = "bold 11px sans-serif";
    context.fillText(name, a - 3, size + 3 - b);
  });
}
function show() {
  const kind = KINDS[state.kind], values = state.values[state.kind], found = labels(state.kind, values), {hit, miss, wrong, iou} = count(found);
  by("kinds").replaceChildren(...Object.entries(KINDS).map(([key, {label}]) => {
    const tab = document.createElement("button");
    Object.assign(tab, {type: "button", textContent: label, onclick: () => { state.kind = key; by("sliders").replaceChildren(); show(); }});
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", String(key === state.kind));
    tab.dataset.key = key;
    return tab;
  }));
  for (const part of by("formula").children) part.hidden = part.dataset.kind !== state.kind;
  if (!by("sliders").children.length)
    by("sliders").replaceChildren(...kind.sliders.map(([name, label], k) => {
      const row = document.createElement("label"), input = Object.assign(document.createElement("input"), {type: "range", min: 0, max: 255, name});
      input.oninput = () => { state.values[state.kind][k] = Number(input.value); show(); };
      row.append(`${label} `, input, document.createElement("output"));
      return row;
    }));
  [...by("sliders").children].forEach((row, k) => { row.children[0].value = values[k]; row.children[1].textContent = values[k]; });
  by("score").textContent = `IoU = ${hit} / (${hit} + ${miss} + ${wrong}) = ${iou.toFixed(3)}`;
  by("hint").textContent = kind.hint;
  paintImage(found);
  paintValues();
}
// Dragging in the picture of the values: the threshold, or the nearer prototype.
by("values").onpointerdown = by("values").onpointermove = event => {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = by("values").getBoundingClientRect(), clamp = v => Math.max(0, Math.min(255, Math.round(v)));
  const x = clamp((event.clientX - box.left) * 256 / box.width), y = clamp(255 - (event.clientY - box.top) * 256 / box.height), values = state.values[state.kind];
  if (event.type === "pointerdown") {
    by("values").setPointerCapture(event.pointerId);
    state.held = state.kind === "intervals" ? 0 : (values[0] - x) ** 2 + (values[1] - y) ** 2 <= (values[2] - x) ** 2 + (values[3] - y) ** 2 ? 0 : 2;
  }
  values[state.held] = x;
  if (state.kind === "prototypes") values[state.held + 1] = y;
  show();
};

show();
compare();
