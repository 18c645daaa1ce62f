// The page: the state is one object, `show` draws it, and every event changes the state and calls `show`.

const DATA = JSON.parse(document.getElementById("data").textContent);
const by = id => document.getElementById(id);
const state = {equation: Object.keys(DATA.equations)[0], view: "formula", setting: Object.fromEntries(DATA.controls.map(c => [c.sets[0], c.first])),
               result: null, cell: null, step: 0, term: null, lines: null};
let scene = null; // what belongs to the equation and the setting: formula, results
let drawn = "";   // for which equation and setting the grids stand

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}
function escape(text) { return text.replace(/[&<>]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;"})[c]); }

// --- numbers

function symbols(setting) {
  const values = {...DATA.sizes};
  for (const control of DATA.controls) for (const symbol of control.sets) values[symbol] = setting[control.sets[0]];
  if ("s_h" in values)
    for (const [size, kernel, name, axis] of [["H", "U", "P", "h"], ["W", "V", "Q", "w"]])
      values[name] = Math.floor((values[size] + 2 * values[`p_${axis}`] - (values[`d_${axis}`] ?? 1) * (values[kernel] - 1) - 1) / values[`s_${axis}`]) + 1;
  return values;
}
// The first elements of each axis.
function cut({shape, data}, wanted) {
  const count = wanted.reduce((a, b) => a * b, 1);
  return {shape: wanted, data: Array.from({length: count}, (_, k) => data[flat(place(k, wanted), shape)])};
}
function formulaOf(name, setting) {
  const equation = DATA.equations[name], values = symbols(setting), arrays = {};
  const made = new Formula(equation, values, arrays);
  for (const argument of equation.arguments)
    arrays[argument] = argument in equation.made ? formulaOf(equation.made[argument], setting).result(argument) : cut(equation.arrays[argument], made.shape(argument));
  return made;
}
function isCase(setting) { return ["C", "O"].every(axis => !(axis in setting) || setting[axis] % (setting.G ?? 1) === 0); }

// Compares every result in every setting with the numbers of the literal loops.
async function compare() {
  let right = 0;
  const wrong = [], keys = DATA.controls.map(c => c.sets[0]);
  for (const [values, results] of DATA.golden) {
    const setting = Object.fromEntries(keys.map((key, k) => [key, values[k]]));
    Object.keys(DATA.equations).forEach((name, e) => {
      const formula = formulaOf(name, setting);
      DATA.equations[name].returns.forEach((result, r) => {
        const mine = formula.result(result).data, golden = results[e][r];
        if (mine.length === golden.length && mine.every((v, k) => Math.abs(v - golden[k]) <= 1e-12 * Math.max(1, Math.abs(golden[k])))) right += 1;
        else wrong.push(`${result} of ${name} at ${keys.map((key, k) => `${key} = ${values[k]}`).join(", ")}`);
      });
    });
    await new Promise(done => setTimeout(done));
  }
  const all = right + wrong.length;
  by("golden").className = wrong.length ? "bad" : "good";
  by("golden").textContent = wrong.length ? `✗ ${wrong.length} of ${all} arrays differ from formula.py: ${wrong[0]}` : `✓ ${all} of ${all} arrays of ${DATA.golden.length} settings equal those of formula.py`;
  document.body.dataset.compared = `${right}/${all}`;
}

// --- what stands on the page

function tabs(parent, entries, current, choose) {
  parent.replaceChildren(...entries.map(([key, label]) => {
    const tab = make("button", {type: "button", role: "tab", "aria-selected": String(key === current), "data-key": key, tabindex: key === current ? 0 : -1}, label);
    tab.onclick = () => choose(key);
    return tab;
  }));
  parent.onkeydown = event => {
    const move = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!move) return;
    event.preventDefault();
    const at = (entries.findIndex(([key]) => key === document.activeElement.dataset.key) + move + entries.length) % entries.length;
    choose(entries[at][0]);
    parent.children[at].focus();
  };
}

function prepare() {
  const equation = DATA.equations[state.equation], formula = formulaOf(state.equation, state.setting);
  scene = {equation, formula, results: Object.fromEntries(equation.returns.map(name => [name, formula.result(name)])), colours: {}};
  equation.returns.forEach((name, k) => (scene.colours[name] = `--r${k}`));
  equation.arguments.forEach((name, k) => (scene.colours[name] = `--a${k}`));
}
// The element that is explained: the chosen one, or one in the middle of the first result.
function select() {
  if (!(state.result in scene.results)) state.result = scene.equation.returns[0];
  const shape = scene.results[state.result].shape;
  if (!state.cell || state.cell.length !== shape.length || state.cell.some((k, axis) => k >= shape[axis])) state.cell = shape.map((n, axis) => (axis < shape.length - 2 ? 0 : n >> 1));
}

function drawFrame() {
  tabs(by("equations"), Object.entries(DATA.equations).map(([key, e]) => [key, e.label]), state.equation, key => change({equation: key, result: null, cell: null, step: 0, term: null, lines: null}));
  by("formula").innerHTML = scene.equation.math.map(m => `<span class="long">${m.replaceAll("<math>", '<math displaystyle="true">')}</span>`).join("");
  for (const element of by("formula").querySelectorAll("[data-term]")) if (scene.colours[element.dataset.term]) element.style.color = `var(${scene.colours[element.dataset.term]})`;
  by("controls").replaceChildren(...DATA.controls.map(control => {
    const key = control.sets[0], select = make("select", {"data-key": key});
    for (const value of control.values) {
      const option = make("option", {value}, signed(value));
      option.disabled = !isCase({...state.setting, [key]: value});
      option.selected = state.setting[key] === value;
      select.append(option);
    }
    select.onchange = () => change({setting: {...state.setting, [key]: Number(select.value)}, step: 0});
    return make("label", {}, `${control.label} `, select);
  }));
  by("grids").replaceChildren(...[...scene.equation.returns, ...scene.equation.arguments].map(grid));
  by("symbols").replaceChildren(...Object.entries(scene.equation.symbols).flatMap(([name, meaning]) => [make("dt", {}, shown_name(name)), make("dd", {}, meaning)]));
}

function grid(name) {
  const {shape: own, data} = scene.results[name] ?? scene.formula.arrays[name], shape = own.length ? own : [1], rows = shape.length > 1 ? shape[shape.length - 2] : 1, columns = shape[shape.length - 1];
  const outer = shape.slice(0, -2), planes = outer.reduce((a, b) => a * b, 1), axes = scene.equation.axes[name];
  const padded = scene.formula.values.p_h ?? 0, isImage = axes[axes.length - 1] === "W" && !(name in scene.results);
  const pad = isImage ? padded : 0;
  const wrap = make("div", {class: "planes"});
  for (let p = 0; p < planes; p++) {
    const first = place(p, outer), table = make("table", {"aria-label": `${name}${outer.length ? `, plane ${first}` : ""}`});
    const line = (from, to, cell) => Array.from({length: to - from}, (_, k) => cell(from + k));
    table.append(make("tr", {}, make("th"), ...line(-pad, columns + pad, l => make("th", {scope: "col"}, signed(l)))));
    for (let k = -pad; k < rows + pad; k++)
      table.append(make("tr", {}, make("th", {scope: "row"}, shape.length > 1 ? signed(k) : ""), ...line(-pad, columns + pad, l => {
        const index = own.length ? [...first, ...(shape.length > 1 ? [k, l] : [l])] : [], inside = k >= 0 && k < rows && l >= 0 && l < columns;
        return make("td", {"data-array": name, "data-index": index.join(), class: inside ? "" : "pad", tabindex: inside ? -1 : null}, inside ? signed(data[flat(index, own)]) : scene.formula.outside.has(name) ? "0" : "");
      })));
    const caption = outer.map((n, axis) => (n > 1 ? `${axes[axis][0].toLowerCase()} = ${first[axis]}` : "")).filter(Boolean).join(", ");
    wrap.append(make("div", {class: "plane"}, ...(caption ? [make("small", {}, caption)] : []), table));
  }
  return make("div", {class: "array", "data-array": name, style: `--c: var(${scene.colours[name]})`}, make("h2", {}, `${shown_name(name)} `, make("small", {}, own.join(" × "))), wrap);
}

function drawCode() {
  const program = scene.equation.programs[state.view], texts = DATA.files[program.file];
  const rows = name => {
    const [first, text] = texts[name];
    return make("div", {class: "function"}, ...text.split("\n").map((line, k) => {
      const code = make("code", {style: `--indent: ${/^ */.exec(line)[0].length + 2}ch`});
      code.innerHTML = paint(line, program.file.endsWith(".cu"));
      return make("div", {class: "row", "data-line": first + k, "data-terms": program.terms[first + k] ?? null}, make("i", {}, String(first + k)), code);
    }));
  };
  by("code").replaceChildren(...program.plain.map(rows));
  if (program.fast.length) by("code").append(make("details", {}, make("summary", {}, `How it is made fast, and its other cases: ${program.fast.length} more function${program.fast.length > 1 ? "s" : ""}`), ...program.fast.map(rows)));
  by("file").textContent = program.file;
  tabs(by("views"), Object.entries(DATA.views), state.view, key => change({view: key}));
}
function paint(line, cpp) {
  const words = cpp ? "template|typename|const|int|auto|return|for|if|else|continue|void|bool|while|constexpr|__global__|__device__|__shared__" : "def|return|for|in|if|else|elif|while|and|or|not|is|None|lambda|import|from|continue|break";
  return escape(line).replace(new RegExp(`(${cpp ? "//.*$" : "#.*$|&quot;&quot;&quot;.*$"})|\\b(${words})\\b`, "g"), (_, comment, word) => (comment ? `<em>${comment}</em>` : `<b>${word}</b>`));
}

// --- the answer to what is pointed at

function key(read) { return `${read.name}:${read.index}`; }

function show() {
  const frame = JSON.stringify([state.equation, state.setting]);
  if (frame !== drawn) { prepare(); drawFrame(); drawn = frame; drawCode(); by("code").dataset.shown = state.view; }
  if (by("code").dataset.shown !== state.view) { drawCode(); by("code").dataset.shown = state.view; }
  select();

  const {formula, equation} = scene, {letters, tree} = formula.statements[state.result], at = bind(letters, state.cell);
  const outer = formula.outer(tree, at), steps = formula.steps(outer);
  state.step = Math.max(0, Math.min(state.step, steps.length - 1));
  const now = steps[state.step], result = scene.results[state.result], value = result.data[flat(state.cell, result.shape)];
  by("step").max = Math.max(0, steps.length - 1);
  by("step").value = state.step;
  by("step").setAttribute("aria-valuetext", now ? `${state.step + 1} of ${steps.length}: ${now.text}` : "no term");

  const mark = (text, k) => `\u0001${k}\u0002${text}\u0003`;
  const chosen = ["extreme", "set"].includes(outer.tree[0]); // has winners
  by("sum").innerHTML = escape(`${shown_name(state.result)}${state.cell.length ? `[${state.cell}]` : ""} = ${signed(value)} = ${formula.text(tree, at, outer.tree, steps, mark)}`)
    .replace(/\u0001(\d+)\u0002/g, (_, k) => `<span data-step="${k}" class="${Number(k) === state.step ? "now" : ""} ${chosen ? (steps[k].holds ? "won" : "lost") : ""}">`).replaceAll("\u0003", "</span>");
  by("where").textContent = now ? relations(now.at) : "";

  const on = new Set(steps.flatMap(s => s.reads.map(key))), here = new Set(now ? now.reads.map(key) : []), self = `${state.result}:${state.cell}`;
  for (const cell of by("grids").querySelectorAll("td")) {
    const name = `${cell.dataset.array}:${cell.dataset.index}`;
    cell.classList.toggle("on", on.has(name) || state.term === cell.dataset.array);
    cell.classList.toggle("now", here.has(name));
    cell.classList.toggle("here", name === self);
    if (cell.hasAttribute("tabindex")) cell.tabIndex = name === self ? 0 : -1;
    if (name === self) cell.setAttribute("aria-current", "true"); else cell.removeAttribute("aria-current");
  }
  const hot = state.lines ?? (state.term ? [state.term] : []);
  for (const array of by("grids").querySelectorAll(".array")) array.classList.toggle("hot", hot.includes(array.dataset.array));
  for (const term of by("formula").querySelectorAll("[data-term]")) term.classList.toggle("hot", hot.includes(term.dataset.term));

  const trace = state.view === "cuda" ? traced(now, result) : null, program = equation.programs[state.view];
  const current = new Set(trace?.lines ?? (now ? program.steps : []));
  for (const row of by("code").querySelectorAll(".row")) {
    row.classList.toggle("now", current.has(Number(row.dataset.line)));
    row.classList.toggle("hot", state.term !== null && (row.dataset.terms ?? "").split(" ").includes(state.term));
  }
  by("trace").innerHTML = trace?.text ?? "";
  reveal();
}
// Brings the line of the step into view, within the panel alone.
function reveal() {
  const panel = by("code"), row = state.term ? panel.querySelector(".row.hot") : panel.querySelector(".row.now");
  if (!row || state.lines) return;
  const from = row.offsetTop - panel.offsetTop;
  if (from < panel.scrollTop || from > panel.scrollTop + panel.clientHeight - 40) panel.scrollTop = from - panel.clientHeight / 3;
}

// The letters of a step, and the abbreviations that they give: k = 2·1 + 1·1 − 1 = 2.
function relations(at) {
  const {formula, equation} = scene;
  const letters = Object.entries(at).filter(([, v]) => v !== undefined).map(([letter, v]) => `${letter} = ${signed(v)}`);
  const made = equation.statements.filter(([name, own, tree]) => !own.length && names(tree).some(n => at[n] !== undefined) && !formula.loop(tree, {...at}, true))
    .map(([name, , tree]) => `${name} = ${formula.text(tree, {...at})} = ${signed(formula.compile(tree)({...at}))}`);
  return [letters.join(", "), ...made].join("   ·   ");
}

// --- what the emulator recorded

function traced(now, result) {
  const keys = DATA.controls.map(c => c.sets[0]), number = Object.keys(DATA.equations).indexOf(state.equation);
  if (!DATA.traced.length) return {lines: now ? scene.equation.programs.cuda.steps : [], text: "This page was built without a C++ compiler, so no run of the kernel was recorded."};
  const distance = values => keys.filter((k, i) => state.setting[k] !== values[i]).length;
  const [values, launches] = DATA.traced.reduce((best, next) => (distance(next[0]) < distance(best[0]) ? next : best));
  if (distance(values)) {
    const named = keys.map((k, i) => `${k.replace(/_.$/, "")} = ${signed(values[i])}`).join(", ");
    return {lines: now ? scene.equation.programs.cuda.steps : [], text: `Every access was recorded for ${named}, the nearest setting that was. <button type="button" id="nearest" data-values="${values}">Go there</button>`};
  }
  // Backwards: the threads that write this element, and the threads that write what those read.
  let wanted = [[state.result, flat(state.cell, result.shape)]];
  const found = [];
  for (const launch of [...launches[number]].reverse()) {
    const accesses = Array.from({length: launch.accesses.length / 6}, (_, k) => launch.accesses.slice(6 * k, 6 * k + 6));
    const is = new Set(wanted.map(([name, element]) => `${name}:${element}`));
    const threads = new Set(accesses.filter(a => a[4] && is.has(`${launch.arrays[a[2]]}:${a[3]}`)).map(a => a[0]));
    if (!threads.size) continue;
    const own = accesses.filter(a => threads.has(a[0]));
    found.unshift({launch, threads: [...threads], own});
    wanted = [...wanted, ...own.filter(a => !a[4]).map(a => [launch.arrays[a[2]], a[3]])];
  }
  const reads = new Set((now?.reads ?? []).filter(r => r.inside).map(r => `${r.name}:${flat(r.index, scene.formula.arrays[r.name].shape)}`));
  const lines = new Set(), parts = [];
  for (const {launch, threads, own} of found) {
    const mine = own.map((a, k) => [a, k]).filter(([a]) => !a[4] && reads.has(`${launch.arrays[a[2]]}:${a[3]}`));
    const those = mine.length > 1 && threads.length > 1 ? mine.filter(([a]) => a[0] === mine[0][0][0]) : mine;
    for (const [a] of mine) lines.add(a[5]);
    const thread = threads.length === 1 ? `thread ${threads[0] % launch.block} of block ${Math.floor(threads[0] / launch.block)}` : `${threads.length} threads`;
    const accesses = those.length ? ` This term: ${those.slice(0, 4).map(([a, k]) => `access ${1 + own.filter(o => o[0] === a[0]).indexOf(a)} reads ${launch.arrays[a[2]]}[${place(a[3], scene.formula.arrays[launch.arrays[a[2]]].shape)}]${threads.length > 1 ? ` in thread ${a[0] % launch.block}` : ""}, line ${a[5]}`).join("; ")}.` : "";
    parts.push(`<b>${escape(launch.kernel)}</b>: ${thread}, ${own.length} accesses.${accesses}`);
  }
  if (now && !lines.size) parts.push(now.reads.some(r => !r.inside) ? "This term lies outside of the array: no thread reads it." : "No thread reads what this term does.");
  return {lines: [...lines], text: `As the emulator recorded it: ${parts.join(" ")}`};
}

// --- events

function change(next) { Object.assign(state, next); show(); }
function places(cell) { return cell.dataset.index ? cell.dataset.index.split(",").map(Number) : []; } // none of a single number
function pointAt(cell) {
  const name = cell.dataset.array, index = places(cell);
  if (name in scene.results) { if (!cell.classList.contains("pad")) change({result: name, cell: index, step: state.result === name ? state.step : 0, term: null, lines: null}); return; }
  const {letters, tree} = scene.formula.statements[state.result], outer = scene.formula.outer(tree, bind(letters, state.cell));
  const step = scene.formula.steps(outer).findIndex(s => s.reads.some(r => r.name === name && r.index.join() === cell.dataset.index));
  change(step >= 0 ? {step, term: null, lines: null} : {term: name, lines: null});
}
const move = by2 => change({step: state.step + by2, term: null, lines: null});

by("grids").onpointerover = event => { if (event.pointerType === "mouse" && event.target.closest("td")) pointAt(event.target.closest("td")); };
by("grids").onclick = event => { const cell = event.target.closest("td"); if (cell) { pointAt(cell); if (cell.hasAttribute("tabindex")) cell.focus(); } };
by("grids").onkeydown = event => {
  const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
  const cell = event.target.closest("td");
  if (!step || !cell) return;
  event.preventDefault();
  const index = places(cell), last = index.length - 1;
  if (last < 0) return;
  index[last] += step[1];
  if (last) index[last - 1] += step[0];
  const next = by("grids").querySelector(`td[data-array="${cell.dataset.array}"][data-index="${index}"][tabindex]`);
  if (next) { pointAt(next); next.focus(); }
};
// An index letter or a size is no term; it belongs to the term in whose index it stands.
function termAt(element) {
  let found = element.closest("[data-term]");
  while (found && !scene.equation.terms.includes(found.dataset.term)) found = found.parentElement.closest("[data-term]");
  return found?.dataset.term ?? null;
}
by("formula").onpointerover = by("formula").onclick = event => { const term = termAt(event.target); if (term) change({term, lines: null}); };
by("formula").onpointerleave = () => change({term: null});
by("formula").onkeydown = event => {
  const move = {ArrowRight: 1, ArrowLeft: -1}[event.key], terms = scene.equation.terms;
  if (event.key === "Escape") change({term: null});
  if (!move) return;
  event.preventDefault();
  change({term: terms[(terms.indexOf(state.term) + move + terms.length) % terms.length], lines: null});
};
by("code").onpointerover = by("code").onclick = event => { const row = event.target.closest(".row"); if (row) change({lines: (row.dataset.terms ?? "").split(" ").filter(Boolean), term: null}); };
by("code").onpointerleave = () => change({lines: null});
by("sum").onclick = event => { const step = event.target.closest("[data-step]"); if (step) change({step: Number(step.dataset.step), term: null, lines: null}); };
by("trace").onclick = event => {
  if (event.target.id !== "nearest") return;
  const values = event.target.dataset.values.split(",").map(Number);
  change({setting: Object.fromEntries(DATA.controls.map((c, k) => [c.sets[0], values[k]])), step: 0});
};
by("step").oninput = () => change({step: Number(by("step").value), term: null, lines: null});
by("back").onclick = () => move(-1);
by("next").onclick = () => move(1);

show();
compare();
