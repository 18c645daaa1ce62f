"use strict";
// Computes a formula's tree, as minisegnet/learn/formulas.py does: every node becomes a function of the index letters that are bound.

class Formula {
  // equation: what build.py wrote of it. values: numbers of the symbols. arrays: {name: {shape, data}}.
  constructor(equation, values, arrays) {
    this.equation = equation;
    this.values = values;
    this.arrays = arrays;
    this.outside = new Set(equation.outside);
    this.statements = Object.fromEntries(equation.statements.map(([name, letters, tree]) => [name, {name, letters, tree}]));
    this.known = new Map();
    this.compiled = new Map();
    this.reads = null; // while an array, every element that is read is noted in it
  }

  size(axis) {
    const [first, ...divisors] = String(axis).split("/").map(part => (/^\d+$/.test(part) ? Number(part) : this.values[part]));
    return divisors.reduce((size, divisor) => size / divisor, first);
  }
  shape(name) { return this.equation.axes[name].map(axis => this.size(axis)); }
  range(letter) { return this.size(this.equation.ranges[letter]); }

  // All elements of a result, in row-major order.
  result(name) {
    const shape = this.shape(name), count = shape.reduce((a, b) => a * b, 1), {letters, tree} = this.statements[name];
    const value = this.compile(tree);
    return {shape, data: Array.from({length: count}, (_, k) => value(bind(letters, place(k, shape))))};
  }

  compile(tree) {
    if (!this.compiled.has(tree)) this.compiled.set(tree, this[`node_${NODES[tree[0]] || tree[0]}`](...tree.slice(1)));
    return this.compiled.get(tree);
  }
  all(conditions) {
    const tests = conditions.map(c => this.compile(c));
    return at => tests.every(test => test(at));
  }

  node_number(value) { const v = value === "inf" ? Infinity : value; return () => v; }
  node_option(text) {
    const name = text.trim().toLowerCase().replaceAll(" ", "_");
    return name === "otherwise" ? () => true : () => this.values[name] ?? fail(`no option ${text}`);
  }
  node_name(name) {
    if (name in this.arrays) return () => this.arrays[name].data[0]; // a number
    if (name in this.equation.ranges || !(name in this.statements)) return at => at[name] ?? this.values[name] ?? fail(`${name} has no value`);
    const value = this.compile(this.statements[name].tree);
    return at => at[name] ?? value(at);
  }
  node_at(name, places) {
    const index = places.map(p => this.compile(p));
    if (name in this.arrays) {
      const {shape, data} = this.arrays[name], outside = this.outside.has(name);
      return at => {
        const here = index.map(i => i(at));
        const inside = here.every((k, axis) => k >= 0 && k < shape[axis]);
        if (this.reads) this.reads.push({name, index: here, inside});
        if (inside) return data[flat(here, shape)];
        return outside ? 0 : fail(`${name}[${here}] lies outside of its shape ${shape}`);
      };
    }
    const {letters, tree} = this.statements[name];
    const value = this.compile(tree);
    return at => {
      const here = index.map(i => i(at)), key = `${name}${here}`;
      if (this.reads) return value(bind(letters, here));
      if (!this.known.has(key)) this.known.set(key, value(bind(letters, here)));
      return this.known.get(key);
    };
  }
  binary(a, b, f) { const x = this.compile(a), y = this.compile(b); return at => f(x(at), y(at)); }
  node_plus(a, b) { return this.binary(a, b, (x, y) => x + y); }
  node_minus(a, b) {
    if (b) return this.binary(a, b, (x, y) => x - y);
    const x = this.compile(a);
    return at => -x(at);
  }
  node_times(a, b) {
    const x = this.compile(a), y = this.compile(b);
    if (!contains(a, "iverson") && !contains(a, "defined")) return at => x(at) * y(at);
    return at => { const left = x(at); return left === 0 ? 0 : left * y(at); }; // [no] · … and Λ(2) · …: the rest is not looked at
  }
  node_over(a, b) { return this.binary(a, b, (x, y) => x / y); }
  node_mod(a, b) { return this.binary(a, b, (x, y) => ((x % y) + y) % y); }
  node_power(a, b) { return this.binary(a, b, (x, y) => x ** y); }
  node_tuple(parts) { const f = parts.map(p => this.compile(p)); return at => f.map(p => p(at)); }
  node_call(name, a) {
    const x = this.compile(a);
    const f = {"\\lfloor": Math.floor, "\\lceil": Math.ceil, "\\exp": Math.exp, "\\log": Math.log, "\\sqrt": Math.sqrt,
               "|": v => (Array.isArray(v) ? v.length : Math.abs(v))}[name];
    return at => f(x(at));
  }
  node_defined(name, a) {
    const [parameter, tree] = this.equation.functions[name], x = this.compile(a), body = this.compile(tree);
    return at => body({...at, [parameter]: x(at)});
  }
  node_chain(relations, terms) {
    const f = terms.map(t => this.compile(t)), holds = relations.map(r => RELATIONS[r]);
    return at => {
      let left = f[0](at);
      for (let k = 0; k < holds.length; k++) {
        const right = f[k + 1](at);
        if (!holds[k](left, right)) return false;
        left = right;
      }
      return true;
    };
  }
  node_iverson(conditions) { const holds = this.all(conditions); return at => (holds(at) ? 1 : 0); }
  node_sum(letters, conditions, body) {
    const each = this.bound(letters, conditions), value = this.compile(body);
    return at => { let sum = 0; each(at, inner => (sum += value(inner))); return sum; };
  }
  node_range(letter, first, last, body) {
    const from = this.compile(first), to = this.compile(last), value = this.compile(body);
    return at => { let sum = 0; for (let m = from(at); m <= to(at); m++) sum += value({...at, [letter]: m}); return sum; };
  }
  node_extreme(which, letters, conditions, body) {
    const each = this.bound(letters, conditions), value = this.compile(body);
    return at => { const found = []; each(at, inner => found.push(value(inner))); return this.choose(which, found, at); };
  }
  node_choice(which, values) {
    const f = values.map(v => this.compile(v));
    return at => { const found = f.map(v => v(at)); return this.choose(which, found.length === 1 && Array.isArray(found[0]) ? found[0] : found, at); };
  }
  choose(which, found, at) {
    if (!found.length) return which in this.equation.empty ? this.compile(this.equation.empty[which])(at) : fail(`${which} of no value`);
    return found.reduce((best, v) => ((which === "\\max" ? v > best : v < best) ? v : best));
  }
  node_set(head, conditions) {
    const each = this.bound(this.heads(head), conditions), value = this.compile(head);
    return at => { const found = []; each(at, inner => found.push(value(inner))); return found; };
  }
  heads(head) { return [...new Set(names(head).filter(n => n in this.equation.ranges))].sort(); }
  node_cases(rows) {
    const cases = rows.map(([value, conditions]) => [this.compile(value), this.all(conditions)]);
    return at => (cases.find(([, holds]) => holds(at)) ?? fail("none of the cases holds"))[0](at);
  }

  // The index letters in a tree, those behind abbreviations included, in order.
  free(tree, seen = new Set()) {
    const found = new Set();
    for (const name of names(tree)) {
      if (name in this.equation.ranges) found.add(name);
      else if (name in this.statements && !seen.has(name)) {
        seen.add(name);
        for (const letter of this.free(this.statements[name].tree, seen)) found.add(letter);
      }
    }
    return found;
  }
  // Visits every combination of the letters for which the conditions hold; each is tested as soon as its letters have values.
  bound(letters, conditions) {
    let plan = null;
    const make = at => {
      const free = conditions.map(c => this.free(c));
      const order = letters.length ? letters : [...new Set(free.flatMap(f => [...f]))].filter(letter => at[letter] === undefined);
      const tests = order.map((letter, k) => conditions.filter((_, c) => free[c].has(letter) && !order.slice(k + 1).some(later => free[c].has(later))));
      return {order, sizes: order.map(letter => this.range(letter)), tests: tests.map(t => this.all(t)),
              first: this.all(conditions.filter((_, c) => !order.some(letter => free[c].has(letter))))};
    };
    return (at, visit) => {
      plan ??= make(at);
      const {order, sizes, tests, first} = plan;
      const loop = depth => {
        if (depth === order.length) return void visit(at);
        for (let k = 0; k < sizes[depth]; k++) {
          at[order[depth]] = k;
          if (tests[depth](at)) loop(depth + 1);
        }
        at[order[depth]] = undefined;
      };
      if (first(at)) loop(0);
    };
  }

  // --- one element, explained

  // What a reader steps through: the first sum, maximum or set of an element that reads an array, in its own formula or else in a
  // definition; without one the whole formula, as a single step.
  outer(tree, at) { return this.loop(tree, at, false) ?? this.loop(tree, at, true) ?? {tree, at}; }
  loop(tree, at, through) {
    const [kind, ...parts] = tree;
    if (LOOPS.has(kind)) return this.looks(tree) ? {tree, at} : null;
    if (through && kind === "name" && at[parts[0]] === undefined && parts[0] in this.statements) return this.loop(this.statements[parts[0]].tree, at, true);
    if (through && kind === "at" && parts[0] in this.statements && !(parts[0] in this.arrays)) {
      const s = this.statements[parts[0]];
      return this.loop(s.tree, bind(s.letters, parts[1].map(p => this.compile(p)(at))), true);
    }
    for (const child of kind === "cases" ? [this.row(parts[0], at)[0], ...parts[0].flatMap(([, conditions]) => conditions)] : children(tree)) {
      const found = this.loop(child, at, through);
      if (found) return found;
    }
    return null;
  }
  // The row of a case distinction whose conditions hold.
  row(rows, at) { return rows.find(([, conditions]) => this.all(conditions)(at)) ?? fail("none of the cases holds"); }
  // Whether a tree reads an array, itself or through definitions.
  looks(tree, seen = new Set()) {
    return names(tree).some(name => {
      if (name in this.arrays) return true;
      if (!(name in this.statements) || seen.has(name)) return false;
      seen.add(name);
      return this.looks(this.statements[name].tree, seen);
    });
  }
  // The steps of a sum, a maximum or a set: letters, what is read, value, text, and whether it counts.
  steps({tree, at}) {
    const found = [];
    const emit = (body, inner, conditions = []) => {
      const here = {...inner};
      this.reads = [];
      const holds = this.all(conditions)(here);
      const value = this.compile(body)(here), reads = this.reads;
      this.reads = null;
      const text = conditions.length ? `${body[0] === "name" ? `${body[1]} = ` : ""}${this.text(body, here)}: ${conditions.map(c => this.text(c, here)).join(", ")} ${holds ? "✓" : "✗"}` : this.text(body, here);
      found.push({at: here, reads, value, holds, text});
    };
    const visit = ([kind, ...parts], at) => {
      if (!LOOPS.has(kind)) return void emit([kind, ...parts], at);
      if (kind === "range") {
        const [letter, first, last, body] = parts;
        for (let m = this.compile(first)(at); m <= this.compile(last)(at); m++) emit(body, {...at, [letter]: m});
        return;
      }
      if (kind === "set") {
        const [head, conditions] = parts;
        this.bound(this.heads(head), [])({...at}, inner => emit(head, inner, conditions));
        return;
      }
      const [letters, conditions, body] = kind === "sum" ? parts : parts.slice(1);
      this.bound(letters, conditions)({...at}, inner => (kind === "sum" && body[0] === "sum" ? visit(body, inner) : emit(body, inner)));
    };
    visit(tree, at);
    if (tree[0] === "extreme") {
      const best = this.choose(tree[1], found.map(s => s.value), at), winner = found.find(s => s.value === best);
      for (const step of found) step.holds = step === winner;
    }
    return tree[0] === "sum" && found.some(s => s.reads.length) ? found.filter(s => s.reads.length) : found; // without 0 · …
  }

  // A tree with numbers in the place of its names. `steps` belong to the node `outer`; step k becomes mark(text, k).
  text(tree, at, outer = null, steps = [], mark = t => t) {
    const [kind, ...parts] = tree;
    const say = (t, strength = 0) => { const s = this.text(t, at, outer, steps, mark); return (STRENGTH[seen(t)[0]] ?? 9) < strength ? `(${s})` : s; };
    // The tree that is written for a node: the definition of a name whose sum is being stepped through.
    const seen = t => ((t[0] === "name" ? at[t[1]] === undefined : t[0] === "at" && !(t[1] in this.arrays)) && t[1] in this.statements && within(t) ? seen(this.statements[t[1]].tree) : t);
    const within = t => outer && (this.loop(t, at, false) ?? this.loop(t, at, true))?.tree === outer;
    if (tree === outer) {
      const shown = steps.map((s, k) => mark(s.text, k));
      if (!LOOPS.has(kind)) return shown[0];
      if (kind === "sum" || kind === "range") return shown.length ? shown.join(" + ") : "0 (an empty sum)";
      return `${kind === "set" ? "" : tree[1].slice(1)}{ ${shown.join(", ")} }`;
    }
    switch (kind) {
      case "name":
        if (parts[0] in this.statements && at[parts[0]] === undefined && within(tree)) return say(this.statements[parts[0]].tree);
        return number(this.compile(tree)(at));
      case "at":
        if (within(tree)) {
          if (parts[0] in this.arrays) return `${shown_name(parts[0])}[${parts[1].map(p => say(p)).join(", ")}]`;
          const s = this.statements[parts[0]];
          return this.text(s.tree, bind(s.letters, parts[1].map(p => this.compile(p)(at))), outer, steps, mark);
        }
        return number(this.compile(tree)(at));
      case "+": return `${say(parts[0])} + ${say(parts[1])}`;
      case "-": return parts.length === 1 ? `−${say(parts[0], 2)}` : `${say(parts[0])} − ${say(parts[1], 2)}`;
      case "*": return `${say(parts[0], 2)}·${say(parts[1], 2)}`;
      case "/": return `${say(parts[0], 2)}/${say(parts[1], 3)}`;
      case "^": return `${say(parts[0], 4)}${parts[1][1] === 2 ? "²" : `^${say(parts[1], 2)}`}`;
      case "call": {
        const [open, close] = CALLS[parts[0]] ?? [];
        return open ? `${open}${say(parts[1])}${close}` : number(this.compile(tree)(at));
      }
      case "chain": return parts[1].map((t, k) => (k ? ` ${SIGNS[parts[0][k - 1]] ?? parts[0][k - 1]} ${say(t)}` : say(t))).join("");
      case "iverson": return `[${parts[0].map(c => say(c)).join(", ")}]`;
      case "choice": return parts[1].length === 1 ? `${parts[0].slice(1)} ${say(parts[1][0])}` : `${parts[0].slice(1)}(${parts[1].map(v => say(v)).join(", ")})`;
      case "cases": return say(this.row(parts[0], at)[0]);
      default: return number(this.compile(tree)(at));
    }
  }
}

const NODES = {"+": "plus", "-": "minus", "*": "times", "/": "over", "^": "power"};
const LOOPS = new Set(["sum", "range", "extreme", "set"]);
const STRENGTH = {"+": 1, "-": 1, mod: 2, "*": 2, "/": 2, sum: 1, range: 1, "^": 3};
const RELATIONS = {"=": (a, b) => a === b, "<": (a, b) => a < b, ">": (a, b) => a > b, "\\le": (a, b) => a <= b, "\\ge": (a, b) => a >= b,
                   "\\ne": (a, b) => a !== b, "\\in": (a, b) => b.includes(a)};
const CALLS = {"\\lfloor": ["⌊", "⌋"], "\\lceil": ["⌈", "⌉"], "\\exp": ["exp(", ")"], "\\log": ["log(", ")"], "\\sqrt": ["√(", ")"]};
const GREEK = {alpha: "α", beta: "β", gamma: "γ", epsilon: "ε", mu: "μ", nu: "ν", rho: "ρ", ell: "ℓ", theta: "θ"};
const SIGNS = {"\\le": "≤", "\\ge": "≥", "\\ne": "≠", "\\in": "∈"};

function fail(message) { throw new Error(message); }
function bind(letters, index) { return Object.fromEntries(letters.map((letter, k) => [letter, index[k]])); }
function flat(index, shape) { return index.reduce((sum, k, axis) => sum * shape[axis] + k, 0); }
function place(k, shape) {
  const index = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) { index.unshift(k % shape[axis]); k = Math.floor(k / shape[axis]); }
  return index;
}
function children(tree) { return tree.slice(1).flatMap(function expand(part) { return Array.isArray(part) ? (typeof part[0] === "string" && part[0] in KINDS ? [part] : part.flatMap(expand)) : []; }); }
const KINDS = Object.fromEntries("number name option at + - * / mod ^ tuple call defined chain iverson sum range extreme choice set cases".split(" ").map(k => [k, true]));
function names(tree) { return [...(tree[0] === "name" || tree[0] === "at" ? [tree[1]] : []), ...children(tree).flatMap(names)]; }
function contains(tree, kind) { return tree[0] === kind || children(tree).some(child => contains(child, kind)); }
function number(value) { return typeof value === "number" ? (value < 0 ? `(−${format(-value)})` : format(value)) : String(value); }
function format(value) { return Number.isInteger(value) ? String(value) : value === Infinity ? "∞" : value.toPrecision(4); }
function signed(value) { return value < 0 ? `−${format(-value)}` : format(value); }
function shown_name(name) { return name.endsWith("bar") ? `${shown_name(name.slice(0, -3))}\u0304` : GREEK[name] ?? name; }
