"use strict";
// The replay of a recorded launch. A step is one request of a warp: [interval, line, array, writes, lanes, elements].

const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const [INTERVAL, LINE, ARRAY, WRITES, LANES, ELEMENTS] = [0, 1, 2, 3, 4, 5];
const SHARED = "shared 0", BANKS = 32, SECTOR = 8;  // numbers of 4 bytes
const state = {warp: 1, step: 0, removed: false};

// Who wrote each word of shared memory, and as which of its warp's steps.
const writers = new Map();
data.warps.forEach((steps, warp) => steps.forEach((step, number) => {
  if (step[ARRAY] === SHARED && step[WRITES]) step[ELEMENTS].forEach(e => writers.set(e, {warp, number}));
}));

// Turns of shared memory: the most different words that one bank has to give. Sectors: pieces of 32 bytes.
function turns(step) {
  const words = Array.from({length: BANKS}, () => new Set());
  step[ELEMENTS].forEach(e => words[e % BANKS].add(e));
  return Math.max(...words.map(set => set.size));
}
function sectors(step) { return new Set(step[ELEMENTS].map(e => Math.floor(e / SECTOR))).size; }

function compare() {
  const all = data.warps.flat(), sum = (steps, of) => steps.reduce((total, step) => total + of(step), 0);
  const found = {turns: sum(all.filter(s => s[ARRAY] === SHARED), turns), sectors: sum(all.filter(s => s[ARRAY] !== SHARED), sectors)};
  const good = found.turns === data.counted.turns && found.sectors === data.counted.sectors;
  $("golden").textContent = good
    ? `✓ ${found.turns} turns of shared memory and ${found.sectors} sectors, as the emulator counted`
    : `✗ ${found.turns} turns and ${found.sectors} sectors; the emulator counted ${data.counted.turns} and ${data.counted.sectors}`;
  $("golden").className = good ? "good" : "bad";
  document.body.dataset.compared = String(good);
}

function steps() { return data.warps[state.warp]; }
function now() { return steps()[state.step]; }

// Whether a word is certain to be in shared memory when the warp makes its current step.
function present(element) {
  const writer = writers.get(element);
  if (!writer) return false;
  return writer.warp === state.warp ? writer.number < state.step : now()[INTERVAL] > 0 && !state.removed;
}
function early(step) { return step[ARRAY] === SHARED && !step[WRITES] ? step[ELEMENTS].filter(e => !present(e)) : []; }

function said(step) {
  const many = step[LANES].length, shared = step[ARRAY] === SHARED;
  const what = `${many} ${many === 1 ? "thread" : "threads"} of warp ${state.warp} ${step[WRITES] ? "write" : "read"}`;
  const words = new Set(step[ELEMENTS]).size;
  const cost = shared
    ? `${words} ${words === 1 ? "word" : "different words"} of shared memory in ${turns(step)} ${turns(step) === 1 ? "turn" : "turns"}`
    : `${words} ${words === 1 ? "number" : "different numbers"} of ${step[ARRAY]} in ${sectors(step)} ${sectors(step) === 1 ? "sector" : "sectors"}`;
  const text = [`Step ${state.step + 1} of ${steps().length}, line ${step[LINE]}: ${what} ${cost}.`];
  const before = steps()[state.step - 1];
  if (before && before[INTERVAL] < step[INTERVAL] && !(state.removed && step[INTERVAL] === 1))
    text.push("All 256 threads have passed the barrier, so everything that was staged before it is there.");
  const missing = early(step).length;
  if (missing)
    text.push(`A race: another warp stages ${missing} of these words, and without the barrier nothing says that it has done so yet.`);
  else if (state.removed && step[INTERVAL] === 1) text.push("This warp staged these words itself.");
  return text.join(" ");
}

function draw(id, rows, columns, colour) {
  const canvas = $(id), wide = canvas.clientWidth || 600, size = wide / 34, scale = devicePixelRatio || 1;
  canvas.width = wide * scale;
  canvas.height = rows * size * scale;
  canvas.style.height = `${rows * size}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  for (let r = 0; r < rows; ++r) for (let c = 0; c < columns; ++c) {
    context.fillStyle = colour(r * columns + c);
    context.fillRect(c * size + .5, r * size + .5, size - 1, size - 1);
  }
}

function show() {
  const step = now(), touched = new Set(step[ELEMENTS]), missing = new Set(early(step));
  const probe = name => getComputedStyle(document.querySelector(`.key .${name}`)).color;
  const [hit, mine, other, race] = ["touched", "mine", "other", "race"].map(probe);
  const empty = getComputedStyle($("listing")).backgroundColor;
  const [rows, columns] = data.tile, [high, wide] = data.halo;
  const shared = element => {
    if (step[ARRAY] === SHARED && touched.has(element)) return missing.has(element) ? race : hit;
    return present(element) ? (writers.get(element).warp === state.warp ? mine : other) : empty;
  };
  draw("x", rows, columns, e => step[ARRAY] === "x" && touched.has(e) ? hit : empty);
  draw("cells", high, wide, e => shared(e + data.weights));
  draw("weights", 2, data.weights / 2, e => shared(e));
  draw("y", rows, columns, e => step[ARRAY] === "y" && touched.has(e + Math.floor(step[ELEMENTS][0] / (rows * columns)) * rows * columns) ? hit : empty);
  $("said").textContent = said(step);
  $("step").max = steps().length - 1;
  $("step").value = state.step;
  const barriers = data.code.map((line, k) => line.includes("__syncthreads()") ? k : -1).filter(k => k >= 0);
  [...$("listing").children].forEach((row, k) => {
    row.classList.toggle("at", data.first + k === step[LINE]);
    row.classList.toggle("gone", state.removed && k === barriers[0]);
  });
  const at = $("listing").querySelector(".at");
  if (at) $("listing").scrollTop = at.offsetTop - $("listing").offsetTop - $("listing").clientHeight / 2;
}
function change(values) {
  Object.assign(state, values);
  state.step = Math.max(0, Math.min(state.step, steps().length - 1));
  show();
}

data.code.forEach((line, k) => {
  const row = document.createElement("div");
  row.textContent = `${String(data.first + k).padStart(3)}  ${line}`;
  if (line.includes("__syncthreads()")) row.className = "barrier";
  $("listing").append(row);
});
data.warps.forEach((_, warp) => $("warp").add(new Option(warp, warp, warp === state.warp, warp === state.warp)));
$("warp").addEventListener("change", event => change({warp: Number(event.target.value)}));
$("removed").addEventListener("change", event => change({removed: event.target.checked}));
$("step").addEventListener("input", event => change({step: Number(event.target.value)}));
$("back").addEventListener("click", () => change({step: state.step - 1}));
$("next").addEventListener("click", () => change({step: state.step + 1}));
addEventListener("resize", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
new MutationObserver(show).observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
compare();
show();
