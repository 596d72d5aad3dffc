"use strict";
(() => {
  // What the page knows: see player.py. A node's number is its place among steps, then leaves.
  const data = JSON.parse(document.getElementById("data").textContent);
  const N = data.steps.length;
  const steps = data.steps.map(([op, letter, shape, results, upstream, args, formula, scope, options]) => ({
    op, letter, shape, results, upstream, formula, scope, options,
    args: args.map(([name, letter, number, source, value, local, came, gain]) =>
      ({ name, letter, number, source, value, local, came, gain })),
  }));
  const leaves = data.leaves.map(([kind, letter, shape, value, grad, name]) =>
    ({ kind, letter, shape, value, grad, name }));
  const node = (i) => (i < N ? steps[i] : leaves[i - N]);
  const users = Array.from({ length: N + leaves.length }, () => []);
  steps.forEach((s, i) => s.args.forEach((a, k) => { if (a.source !== null) users[a.source].push([i, k]); }));

  // Folds: which run of steps each covers, and the fold around each step and fold
  const folds = data.folds.map(([label, kind, children]) => ({ label, kind, children, open: false, first: N, last: -1, parent: -1 }));
  const around = new Int32Array(N).fill(-1);
  for (let f = folds.length - 1; f >= 0; f--) {
    for (const c of folds[f].children) if (c >= 0) around[c] = f; else folds[-1 - c].parent = f;
  }
  for (let i = 0; i < N; i++) for (let f = around[i]; f >= 0; f = folds[f].parent) {
    folds[f].first = Math.min(folds[f].first, i); folds[f].last = Math.max(folds[f].last, i);
  }
  const FEW = 60; // units that are shown at first, at most
  folds[0].open = true;
  const opening = [0];
  let shown = folds[0].children.length;
  for (let at = 0; at < opening.length; at++) {
    for (const c of folds[opening[at]].children) {
      if (c >= 0) continue;
      const more = folds[-1 - c].children.length - 1;
      if (shown + more <= FEW) { shown += more; folds[-1 - c].open = true; opening.push(-1 - c); }
    }
  }

  // What is in view: steps, and folds that are closed (negative), in the order of computation
  let units = [], unitOf = new Int32Array(N);
  const first = (u) => (u >= 0 ? u : folds[-1 - u].first), last = (u) => (u >= 0 ? u : folds[-1 - u].last);
  function gather() {
    units = [];
    const stack = [-1];
    while (stack.length) {
      const u = stack.pop();
      if (u >= 0 || !folds[-1 - u].open) { units.push(u); continue; }
      for (let k = folds[-1 - u].children.length - 1; k >= 0; k--) stack.push(folds[-1 - u].children[k]);
    }
    units.forEach((u, k) => { for (let i = first(u); i <= last(u); i++) unitOf[i] = k; });
  }
  gather();

  // Where we are: a unit, forward or back; `entry` of arrays is followed, `chosen` is a leaf that is looked at
  let place = 0, entry = 0, chosen = null, timer = null;
  const total = () => 2 * units.length;
  const isBack = () => place >= units.length;
  const unitAt = (p) => (p < units.length ? p : total() - 1 - p);
  const unit = () => units[unitAt(place)];

  // Small helpers; text enters the page as text only
  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    set(made, attributes); made.append(...children.filter((c) => c !== null && c !== "")); return made;
  }
  function svg(tag, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    set(made, attributes); made.append(...children); return made;
  }
  function set(made, attributes) {
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
  }
  const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  function number(x) {
    if (typeof x === "string") return x.replace("-", "−");
    if (typeof x === "boolean") return String(x);
    if (x === null || x === undefined) return "?";
    if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x).replace("-", "−");
    let text = Math.abs(x) < 1e-4 || Math.abs(x) >= 1e6 ? x.toExponential(3) : String(Number(x.toPrecision(4)));
    const [digits, power] = text.split("e");
    if (power !== undefined) text = `${Number(digits)}·10${[...String(Number(power))].map((c) => SUPER[c]).join("")}`;
    return text.replace("-", "−");
  }
  const held = (text) => (/^−|·/.test(text) ? `(${text})` : text);
  const shapeText = (shape) => (shape.length ? shape.join("×") : "a number");
  const sizeOf = (value) => value[1].reduce((a, b) => a * b, 1);
  function valueText(value) {
    if (!value) return "not kept";
    const [entries, shape, norm, low, high, odd] = value;
    if (sizeOf(value) === 1) return number(entries[0]);
    const some = entries.slice(0, 6).map(number).join(", ") + (sizeOf(value) > Math.min(6, entries.length) ? ", …" : "");
    return `[${some}] ${shapeText(shape)}, norm ${number(norm)}, from ${number(low)} to ${number(high)}` +
      (odd ? `, ${odd} not finite` : "");
  }
  const bar = (letter) => (letter.slice(0, 1) + (letter ? "\u0304" : "") + letter.slice(1)).normalize("NFC");

  // Formulas: their letters are holes, \ue000 letter | number | mark \ue001
  const HOLE = /\ue000([^|]*)\|([^|]*)\|([^\ue001]*)\ue001/g;
  const argumentOf = (s, letter, no) => s.args.find((a) => a.letter === letter && (a.number ?? "") === (no === "" ? "" : Number(no)));
  function nameOf(s, letter, no) {
    if (letter === "y") return s.results.length > 1 && no !== "" ? `${s.letter},${no}` : s.letter;
    const a = argumentOf(s, letter, no);
    if (!a) return letter + no;
    if (a.source !== null) return node(a.source).letter;
    return a.value && sizeOf(a.value) === 1 ? number(a.value[0][0]) : letter;
  }
  function formulaNode(s, text) {
    const made = el("div", { class: "formula" });
    let at = 0;
    for (const hole of text.matchAll(HOLE)) {
      made.append(text.slice(at, hole.index));
      const [, letter, no, mark] = hole;
      const name = nameOf(s, letter, no), a = letter === "y" ? null : argumentOf(s, letter, no);
      const shownAs = mark ? bar(name) : name;
      if (a && a.source !== null) {
        made.append(el("button", { class: mark ? "hole bar" : "hole", title: "go there", onclick: () => visit(a.source) }, shownAs));
      } else made.append(el("span", { class: mark ? "hole bar" : "" }, shownAs));
      at = hole.index + hole[0].length;
    }
    made.append(text.slice(at));
    return made;
  }
  const filled = (s, text) => text.replace(HOLE, (_, letter, no, mark) => { const n = nameOf(s, letter, no); return mark ? bar(n) : n; });
  // The right side with the numbers of one entry; null where an array is more than its entries
  function withNumbers(s, text, result, k) {
    if (!text.includes("=") || text.includes(",  ") || !result) return null;
    let fine = true;
    const pick = (value) => {
      if (!value) { fine = false; return "?"; }
      const size = sizeOf(value);
      if (size === 1) return held(number(value[0][0]));
      const elementwise = sizeOf(result) === size && String(value[1]) === String(result[1]) && s.args.some((a) => a.local);
      if (!elementwise || k >= value[0].length) { fine = false; return "?"; }
      return held(number(value[0][k]));
    };
    const put = text.slice(text.indexOf("=") + 2).replace(HOLE, (_, letter, no, mark) => {
      if (letter === "y") return pick((mark ? s.upstream : s.results)[no === "" ? 0 : Number(no) - 1]);
      const a = argumentOf(s, letter, no);
      return pick(a ? (mark ? a.came : a.value) : null);
    }).replace(/([\d)⁰¹²³⁴-⁹]) (?=[\d(])/g, "$1 · ").replace(/\(\(([^()]*)\)\)/g, "($1)");
    const size = sizeOf(result);
    if (!fine || (size > 1 && (k >= result[0].length || !s.args.some((a) => a.local)))) return null;
    const came = number(result[0][size === 1 ? 0 : k]);
    return put === came || put === `(${came})` ? came : `${put} = ${came}`;
  }

  // The parts of the page
  const app = document.getElementById("app");
  const say = el("div", { class: "visually-hidden", "aria-live": "polite", id: "say" });
  const slider = el("input", { type: "range", id: "place", min: 0, value: 0, "aria-label": "Step", oninput: (e) => { stop(); go(Number(e.target.value)); } });
  const label = el("span", { class: "phase", id: "where" });
  const playing = el("button", { id: "play", title: "Play or stop (space)", onclick: () => (timer ? stop() : play()) }, "▶ play");
  const search = el("input", { type: "search", id: "search", size: 14, placeholder: "search ( / )", "aria-label": "Search for an operation, a letter, a module or a shape",
    onkeydown: (e) => { if (e.key === "Enter") { find(search.value, e.shiftKey ? -1 : 1); e.preventDefault(); } if (e.key === "Escape") search.blur(); } });
  const found = el("span", { class: "soft", id: "found", "aria-live": "polite" });
  const help = el("dialog", { id: "help" }, el("h2", {}, "Keys"),
    el("table", {}, ...[["→ or l", "next step"], ["← or h", "step before"], ["Home, End", "first, last step"], ["b", "start of the backward pass"],
      ["space", "play, stop"], ["o or Enter", "open the fold that we are at"], ["c", "close the fold around us"], ["e", "next entry of the arrays"],
      ["↑, ↓", "in the list on the left: the row above, below; Enter goes there"],
      ["/", "search; Enter for the next hit, Shift+Enter for the one before"], ["t", "the walk as text, and back"], ["d", "light or dark"], ["?", "this"]]
      .map(([key, what]) => el("tr", {}, el("th", {}, key), el("td", {}, what)))),
    el("form", { method: "dialog" }, el("button", {}, "close")));
  const tree = el("nav", { id: "tree", "aria-label": "Steps, folded by module and time" });
  const map = el("section", { id: "map", "aria-label": "The graph, as it is folded", tabindex: 0 });
  const detail = el("section", { id: "detail", "aria-label": "This step", tabindex: -1 });
  const words = el("section", { id: "walk", hidden: true, "aria-label": "The walk as text", tabindex: 0 });
  const textButton = el("button", { id: "text", "aria-pressed": "false", title: "The walk as text (t)", onclick: () => toggleText() }, "text");
  app.append(
    el("header", {}, el("h1", { title: data.title }, data.title),
      el("button", { title: "First step (Home)", "aria-label": "First step", onclick: () => { stop(); go(0); } }, "|◀"),
      el("button", { id: "before", title: "Step before (←)", "aria-label": "Step before", onclick: () => { stop(); go(place - 1); } }, "◀"),
      playing,
      el("button", { id: "next", title: "Next step (→)", "aria-label": "Next step", onclick: () => { stop(); go(place + 1); } }, "▶"),
      el("button", { title: "Last step (End)", "aria-label": "Last step", onclick: () => { stop(); go(total() - 1); } }, "▶|"),
      slider, label, search, found, textButton,
      el("button", { id: "theme", title: "Light or dark (d)", "aria-label": "Light or dark", onclick: theme }, "◐"),
      el("button", { title: "Keys (?)", "aria-label": "Keys", onclick: () => help.showModal() }, "?")),
    tree, map, detail, words, say, help);

  // The list on the left: only the rows in sight exist, so that 20,000 are no burden
  const ROW = 24;
  let listed = [];
  const rows = el("div", { class: "rows", role: "tree" });
  tree.append(rows);
  tree.addEventListener("scroll", drawRows);
  function list() {
    listed = [];
    const stack = [[-1, -1]];
    while (stack.length) {
      const [u, depth] = stack.pop();
      if (u !== -1) listed.push([u, depth]);
      if (u < 0 && folds[-1 - u].open) {
        const inside = folds[-1 - u].children;
        for (let k = inside.length - 1; k >= 0; k--) stack.push([inside[k], depth + 1]);
      }
    }
    rows.style.height = `${listed.length * ROW}px`;
  }
  function drawRows() {
    const from = Math.max(0, Math.floor(tree.scrollTop / ROW) - 5), to = Math.min(listed.length, from + Math.ceil((tree.clientHeight || 600) / ROW) + 10);
    const held = rows.contains(document.activeElement) ? document.activeElement.dataset.k : null;
    rows.replaceChildren();
    for (let k = from; k < to; k++) {
      const [u, depth] = listed[k];
      const now = u >= 0 ? u === unit() : u === unit() && !folds[-1 - u].open;
      const text = u >= 0 ? [el("span", { class: "mono" }, steps[u].letter), el("span", { class: "op" }, steps[u].op)]
        : [el("span", {}, folds[-1 - u].open ? "▾" : "▸"), el("span", {}, folds[-1 - u].label), el("span", { class: "op" }, `${folds[-1 - u].last - folds[-1 - u].first + 1}`)];
      rows.append(el("button", { class: now ? "row now" : "row", role: "treeitem", tabindex: now ? 0 : -1, "data-k": k,
        "aria-label": u >= 0 ? `${steps[u].letter} = ${steps[u].op}` : `${folds[-1 - u].label}, ${folds[-1 - u].last - folds[-1 - u].first + 1} operations`, "aria-level": depth + 1,
        "aria-expanded": u >= 0 ? null : String(folds[-1 - u].open), "aria-current": now ? "step" : null,
        style: `position:absolute;top:${k * ROW}px;padding-left:${0.5 + 0.8 * depth}rem`,
        onclick: () => { stop(); if (u >= 0) goTo(u); else fold(-1 - u, !folds[-1 - u].open); } }, ...text));
    }
    if (held !== null) focusRow(held);
  }
  function focusRow(k) { const found = rows.querySelector(`[data-k="${k}"]`); if (found) found.focus({ preventScroll: true }); }
  rows.addEventListener("keydown", (e) => { // the list by itself; its rows are made as they come into sight
    const way = { ArrowDown: 1, ArrowUp: -1 }[e.key], k = Number(document.activeElement.dataset.k) + way;
    if (!way || e.ctrlKey || e.metaKey || e.altKey || !(k >= 0 && k < listed.length)) return;
    if (k * ROW < tree.scrollTop) tree.scrollTop = k * ROW;
    if ((k + 1) * ROW > tree.scrollTop + tree.clientHeight) tree.scrollTop = (k + 1) * ROW - tree.clientHeight;
    drawRows(); focusRow(k); e.preventDefault();
  });

  // The drawing in the middle: layers by the longest path, each as near to its neighbours as may be
  let boxes = new Map(), lines = [];
  const SHARED = 3; // a leaf that more steps use has a copy at each
  function measure(lines) { return Math.max(...lines.map((t) => [...t].length)) * 7.3 + 18; }
  function draw() {
    boxes = new Map(); lines = [];
    const key = (i) => (i < N ? unitOf[i] : `leaf${i}`);
    const joined = new Map();
    for (let i = 0; i < N; i++) for (const a of steps[i].args) {
      if (a.source === null) continue;
      const target = unitOf[i], open = units[target] >= 0;
      if (a.source >= N && !open) continue; // what a fold alone uses is inside it
      const source = a.source >= N && users[a.source].length > SHARED ? `leaf${a.source}@${target}` : key(a.source);
      if (source === target) continue;
      const id = `${source}>${target}`;
      if (!joined.has(id)) joined.set(id, { source, target, norm: 0, norms: [], gain: a.gain, many: 0, from: a.source });
      const edge = joined.get(id);
      edge.many += 1;
      edge.norms.push(a.came ? (sizeOf(a.came) === 1 ? Math.abs(Number(a.came[0][0])) : Number(a.came[2])) : 0);
      edge.norm = Math.hypot(edge.norm, edge.norms[edge.many - 1]);
    }
    lines = [...joined.values()];
    units.forEach((u, k) => {
      const text = u >= 0 ? [`${steps[u].letter} = ${steps[u].op}`.slice(0, 30)] : [folds[-1 - u].label.slice(0, 34), `${last(u) - first(u) + 1} operations`];
      boxes.set(k, { key: k, text, rank: 0, w: measure(text), h: text.length > 1 ? 38 : 26, fold: u < 0 });
    });
    for (const e of lines) if (typeof e.source === "string" && !boxes.has(e.source)) {
      const leaf = leaves[e.from - N];
      boxes.set(e.source, { key: e.source, text: [leaf.letter.slice(0, 24)], rank: -1, w: measure([leaf.letter.slice(0, 24)]), h: 22, kind: leaf.kind, leaf: e.from });
    }
    const into = new Map(), out = new Map();
    for (const e of lines) { (into.get(e.target) || into.set(e.target, []).get(e.target)).push(e); (out.get(e.source) || out.set(e.source, []).get(e.source)).push(e); }
    for (let k = 0; k < units.length; k++) { // neighbours in order of computation: no cycles
      const b = boxes.get(k);
      for (const e of into.get(k) || []) b.rank = Math.max(b.rank, typeof e.source === "string" ? 1 : boxes.get(e.source).rank + 1);
    }
    // What hangs on leaves alone stands beside what uses it
    for (let k = 0; k < units.length; k++) boxes.get(k).loose = (into.get(k) || []).every((e) => typeof e.source === "string" || boxes.get(e.source).loose);
    for (let k = units.length - 1; k >= 0; k--) {
      const b = boxes.get(k), after = (out.get(k) || []).map((e) => boxes.get(e.target).rank);
      if (b.loose && after.length) b.rank = Math.min(...after) - 1;
    }
    for (const b of boxes.values()) if (b.leaf !== undefined) b.rank = Math.min(...out.get(b.key).map((e) => boxes.get(e.target).rank)) - 1;
    const least = Math.min(...[...boxes.values()].map((b) => b.rank)), layers = [];
    for (const b of boxes.values()) (layers[b.rank - least] ||= []).push(b);
    for (let k = 0; k < layers.length; k++) layers[k] ||= [];
    const mid = (b) => b.x + b.w / 2;
    const put = (layer) => { let x = 0; for (const b of layer) { b.x = x; x += b.w + 18; } const shift = (x - 18) / 2; for (const b of layer) b.x -= shift; };
    layers.forEach(put);
    const pull = (layer, side, end) => {
      for (const b of layer) { const near = (side.get(b.key) || []).map((e) => mid(boxes.get(e[end]))); b.want = near.length ? near.reduce((p, q) => p + q, 0) / near.length : mid(b); }
      layer.sort((p, q) => p.want - q.want);
      let x = -Infinity;
      for (const b of layer) { b.x = Math.max(x, b.want - b.w / 2); x = b.x + b.w + 18; }
      const off = layer.length ? layer.reduce((s, b) => s + mid(b) - b.want, 0) / layer.length : 0;
      for (const b of layer) b.x -= off;
    };
    for (let round = 0; round < 3; round++) {
      layers.forEach((l) => pull(l, into, "source"));
      [...layers].reverse().forEach((l) => pull(l, out, "target"));
    }
    let y = 16;
    for (const layer of layers) { const h = Math.max(22, ...layer.map((b) => b.h)); for (const b of layer) b.y = y + (h - b.h) / 2; y += h + 30; }
    const left = Math.min(...[...boxes.values()].map((b) => b.x)) - 40;
    for (const b of boxes.values()) b.x -= left;
    const width = Math.max(...[...boxes.values()].map((b) => b.x + b.w)) + 60;
    const norms = lines.map((e) => e.norm).filter((n) => n > 0 && Number.isFinite(n)).map(Math.log10);
    const high = Math.ceil(Math.max(...norms, -300)), low = Math.min(Math.floor(Math.min(...norms, 300)), high - 3);
    const drawing = svg("svg", { width, height: y, viewBox: `0 0 ${width} ${y}`, role: "group", "aria-label": `${boxes.size} nodes` });
    for (const e of lines) {
      const a = boxes.get(e.source), b = boxes.get(e.target), far = b.rank - a.rank;
      const bow = far > 1 ? (mid(a) <= mid(b) ? -1 : 1) * Math.min(160, 24 * Math.sqrt(far) + a.w / 2) : 0;
      const x1 = mid(a), y1 = a.y + a.h, x2 = mid(b), y2 = b.y, m = (y2 - y1) / 2;
      const d = far > 1 ? `M${x1},${y1}C${x1 + bow},${y1 + Math.min(m, 60)} ${x2 + bow},${y2 - Math.min(m, 60)} ${x2},${y2}` : `M${x1},${y1}C${x1},${y1 + m} ${x2},${y2 - m} ${x2},${y2}`;
      e.at = e.norm > 0 ? Math.max(0, Math.min(1, (Math.log10(e.norm) - low) / (high - low))) : 0;
      e.line = svg("path", { class: "edge", d });
      e.leaf = a.leaf !== undefined;
      e.note = svg("text", e.leaf ? { class: "small", x: x1 + 4, y: y1 + 10 } : { class: "small", x: (x1 + x2) / 2 + (bow * 3) / 4 + 5, y: (y1 + y2) / 2 + 4 });
      drawing.append(e.line, e.note);
    }
    for (const b of boxes.values()) {
      b.group = svg("g", { class: `node ${b.fold ? "fold" : ""} ${b.kind || ""}`, tabindex: -1, role: "button", "aria-label": b.text.join(", "),
        onclick: () => { stop(); if (b.leaf !== undefined) visit(b.leaf); else go(isBack() ? total() - 1 - b.key : b.key); },
        ondblclick: () => { if (b.fold) fold(-1 - units[b.key], true); } },
        svg("rect", { x: b.x, y: b.y, width: b.w, height: b.h, rx: b.kind ? 2 : 7 }),
        ...b.text.map((t, k) => svg("text", { x: b.x + b.w / 2, y: b.y + 17 + 15 * k, "text-anchor": "middle", class: k ? "small" : "" }, document.createTextNode(t))));
      drawing.append(b.group);
    }
    map.replaceChildren(drawing);
  }
  function paint() { // what has been computed, and what has come back
    const here = unitAt(place), back = isBack();
    for (const b of boxes.values()) {
      const done = b.leaf === undefined && (back || b.key < here);
      b.group.classList.toggle("done", done);
      b.group.classList.toggle("now", chosen === null ? b.key === here : b.leaf === chosen);
    }
    for (const e of lines) {
      const seen = back && e.target >= here && e.norm > 0;
      e.line.classList.toggle("back", seen);
      e.line.setAttribute("stroke-width", "");
      e.line.style.strokeWidth = seen ? `${(1 + 5 * e.at).toFixed(1)}px` : "";
      const gain = e.many === 1 && e.gain !== null && units[e.target] >= 0 && !e.leaf ? ` ×${number(e.gain)}` : "";
      // of x·x two gradients come back, whose norms do not make that of their sum
      const came = units[e.target] >= 0 && e.many <= 3 ? e.norms.map(number).join(" and ") : number(e.norm);
      e.note.textContent = seen ? `${e.leaf ? "" : "‖·‖ "}${came}${gain}` : "";
      e.line.classList.toggle("path", chosen !== null && e.from === chosen);
    }
    const box = chosen === null ? boxes.get(here) : [...boxes.values()].find((b) => b.leaf === chosen);
    if (box) {
      const x = box.x + box.w / 2 - map.clientWidth / 2, y = box.y + box.h / 2 - map.clientHeight / 2;
      map.scrollTo(Math.max(0, x), Math.max(0, y));
    }
  }

  // The panel on the right
  const row = (...cells) => el("tr", {}, ...cells.map((c, k) => el(k ? "td" : "th", {}, c)));
  const link = (i) => el("button", { class: "hole mono", onclick: () => visit(i) }, node(i).letter);
  function show() {
    if (chosen !== null) return showLeaf(leaves[chosen - N], chosen);
    const u = unit();
    return u >= 0 ? showStep(steps[u], u) : showFold(-1 - u);
  }
  function entries(s) {
    const arrays = [...s.results, ...s.args.map((a) => a.value), ...s.args.map((a) => a.local)].filter((v) => v && sizeOf(v) > 1);
    return s.args.some((a) => a.local) && arrays.length ? Math.min(...arrays.map((v) => v[0].length)) : 0;
  }
  function showStep(s, i) {
    const back = isBack(), formula = s.formula === null ? null : data.formulas[s.formula];
    const many = entries(s), k = many ? entry % many : 0;
    const out = [el("h2", {}, `${s.letter} = ${s.op}`), el("div", { class: "soft" }, [s.scope && `in ${s.scope}`, shapeText(s.shape), ...s.options].filter(Boolean).join(" · "))];
    if (many > 1) out.push(el("div", {}, "entry ", el("button", { id: "entry", title: "next entry (e)", onclick: () => { entry += 1; refresh(); } }, String(k)), el("span", { class: "soft" }, ` of the first ${many}`)));
    if (back) out.push(...backward(s, i, formula, k, many));
    out.push(el("h3", {}, "forward"));
    if (formula) {
      out.push(formulaNode(s, formula[0]));
      const put = withNumbers(s, formula[0], s.results[0], k);
      if (put) out.push(el("div", { class: "formula", id: "numbers" }, `${many > 1 ? `entry ${k}: ` : ""}${put}`));
    }
    out.push(el("table", {}, ...s.results.map((v, r) => row(s.results.length > 1 ? `${s.letter},${r + 1}` : s.letter, valueText(v)))));
    if (formula && formula[2]) out.push(el("p", { class: "soft" }, `at the kink: ${formula[2]}`));
    out.push(el("h3", {}, "takes"), el("table", {}, ...s.args.map((a) => row(a.source === null ? a.name : el("span", {}, `${a.name} is `, link(a.source)), valueText(a.value)))));
    detail.replaceChildren(...out);
  }
  function backward(s, i, formula, k, many) {
    const out = [el("h3", {}, "backward")];
    if (s.upstream.some(Boolean)) {
      out.push(el("table", {}, ...s.upstream.map((v, r) => row(`∂L/∂${s.letter}${s.upstream.length > 1 ? `,${r + 1}` : ""}`, v ? valueText(v) : "none came"))));
      const from = users[i].filter(([j, a]) => steps[j].args[a].came);
      if (from.length > 1) out.push(el("div", { class: "soft" }, "the sum of what came by ", ...from.slice(0, 20).flatMap(([j], n) => [n ? ", " : "", link(j)]), from.length > 20 ? " …" : ""));
    } else out.push(el("p", { class: "soft" }, "no gradient came"));
    const told = new Set();
    for (const a of s.args) {
      if (!a.came) continue;
      const name = a.name.split("[")[0], rule = formula && formula[1][name];
      if (rule && !told.has(name)) {
        told.add(name);
        out.push(formulaNode(s, rule));
        const put = withNumbers(s, rule, a.local || a.came, k);
        if (put) out.push(el("div", { class: "formula" }, `${many > 1 ? `entry ${k}: ` : ""}${put}`));
      }
      const given = a.source === null ? a.letter : node(a.source).letter;
      const lines = [];
      if (a.local) {
        lines.push(row("local", valueText(a.local)));
        const g = s.upstream[0];
        if (g && a.local && (sizeOf(g) === 1 || k < g[0].length) && k < a.local[0].length && String(a.came[1]) === String(a.local[1])) {
          lines.push(row(bar(given), `${held(number(g[0][sizeOf(g) === 1 ? 0 : k]))} · ${held(number(a.local[0][k]))} = ${number(a.came[0][k])}`));
        }
      }
      lines.push(row(`to ${given}`, valueText(a.came)));
      if (a.gain !== null && sizeOf(a.came) > 1) lines.push(row("gain", `the norm × ${number(a.gain)}`));
      out.push(el("table", {}, ...lines));
    }
    return out;
  }
  function showLeaf(leaf, i) {
    const out = [el("h2", {}, leaf.letter), el("div", { class: "soft" }, [leaf.kind, leaf.name, shapeText(leaf.shape)].filter(Boolean).join(" · ")),
      el("table", {}, row("value", valueText(leaf.value)), row(`∂L/∂${leaf.letter}`, leaf.grad ? valueText(leaf.grad) : "none came"))];
    const uses = users[i].map(([j, a]) => [j, steps[j].args[a]]);
    const kept = leaf.grad ? leaf.grad[0].length : 0;
    if (kept) {
      const k = entry % kept;
      out.push(el("h3", {}, "one entry, by every path"), el("div", {}, "entry ", el("button", { id: "entry", title: "next entry (e)", onclick: () => { entry += 1; refresh(); } }, String(k)),
        el("span", { class: "soft" }, ` of the first ${kept}; its value is ${leaf.value && k < leaf.value[0].length ? number(leaf.value[0][k]) : "not kept"}`)));
      const parts = uses.filter(([, a]) => a.came && k < a.came[0].length);
      out.push(el("table", {}, ...parts.slice(0, 200).map(([j, a]) => row(el("span", {}, "by ", link(j), ` ${steps[j].op}`), number(a.came[0][k]))), row(String(leaf.grad[0][k]).endsWith("j") ? "sum, conjugated as .grad is" : "sum", number(leaf.grad[0][k]))));
    }
    const { count, some } = paths(i);
    out.push(el("h3", {}, "paths to L"), el("p", {}, `${count > 1e15 ? "more than 10¹⁵" : count.toLocaleString("en")} path${count === 1 ? "" : "s"}${count > some.length ? `; the first ${some.length}:` : ":"}`));
    for (const way of some) out.push(el("div", { class: "formula" }, leaf.letter, ...(way.length > 24 ? [...way.slice(0, 12), null, ...way.slice(-11)] : way).flatMap((j) => (j === null ? [" → …"] : [" → ", link(j)]))));
    detail.replaceChildren(...out);
  }
  function paths(i) { // how many, and the first few
    const ways = new Float64Array(N);
    for (let j = N - 1; j >= 0; j--) ways[j] = (j === N - 1 ? 1 : 0) + users[j].reduce((s, [k, a]) => s + (steps[k].args[a].came ? ways[k] : 0), 0);
    const count = users[i].reduce((s, [k, a]) => s + (steps[k].args[a].came ? ways[k] : 0), 0);
    const some = [], stack = users[i].filter(([k, a]) => steps[k].args[a].came && ways[k]).map(([k]) => [k]).reverse();
    while (stack.length && some.length < 12) {
      const way = stack.pop(), end = way[way.length - 1];
      if (end === N - 1) { some.push(way); continue; }
      const on = users[end].filter(([k, a]) => steps[k].args[a].came && ways[k]);
      if (on.length === 1) { way.push(on[0][0]); stack.push(way); } else for (const [k] of on.reverse()) stack.push([...way, k]);
    }
    return { count, some };
  }
  function showFold(f) {
    const { label, first: a, last: b, children } = folds[f];
    const ops = new Map();
    for (let i = a; i <= b; i++) ops.set(steps[i].op, (ops.get(steps[i].op) || 0) + 1);
    let enters = 0, leaves_ = 0;
    const size = (v) => (v ? (sizeOf(v) === 1 ? Math.abs(Number(v[0][0])) : Number(v[2])) : 0);
    for (let i = a; i <= b; i++) {
      for (const [j, k] of users[i]) if (j > b) enters = Math.hypot(enters, size(steps[j].args[k].came));
      if (i === N - 1) enters = Math.hypot(enters, ...steps[i].upstream.map(size));
      for (const x of steps[i].args) if (x.source !== null && x.source < a) leaves_ = Math.hypot(leaves_, size(x.came));
    }
    detail.replaceChildren(el("h2", {}, label), el("div", { class: "soft" }, `${b - a + 1} operations, folded`),
      el("p", {}, el("button", { id: "open", onclick: () => fold(f, true) }, "open (o)")),
      el("table", {}, row("operations", [...ops].sort((p, q) => q[1] - p[1]).slice(0, 8).map(([op, n]) => `${n} ${op}`).join(", ") + (ops.size > 8 ? ", …" : "")),
        row("gradient in", `norm ${number(enters)}`), row("gradient out", `norm ${number(leaves_)}`), row("gain", enters ? `× ${number(leaves_ / enters)}` : "?"),
        row("result", valueText(steps[b].results[0])), row("inside", `${children.length} parts`)));
  }

  // Moving
  function sentence() {
    if (chosen !== null) { const l = leaves[chosen - N]; return `${l.kind} ${l.name || l.letter}, gradient ${l.grad ? valueText(l.grad) : "none"}.`; }
    const u = unit(), k = unitAt(place);
    if (u < 0) return `${isBack() ? "Back" : "Forward"}, ${k + 1} of ${units.length}: ${folds[-1 - u].label}, ${last(u) - first(u) + 1} operations, folded.`;
    return stepSentence(u, isBack());
  }
  const each = (s, values) => values.flatMap((v, r) => (v ? [`${s.letter},${r + 1}: ${valueText(v)}`] : [])); // several results
  function stepSentence(i, back) {
    const s = steps[i], formula = s.formula === null ? `${s.letter} = ${s.op}` : filled(s, data.formulas[s.formula][0]);
    if (!back) return `Step ${i + 1} of ${N}, forward: ${formula}${s.scope ? `, in ${s.scope}` : ""}; ${s.results.length > 1 ? each(s, s.results).join(", ") : `it is ${valueText(s.results[0])}`}.`;
    const gone = s.args.filter((a) => a.came).map((a) => `${valueText(a.came)} goes to ${a.source === null ? a.letter : node(a.source).letter}`);
    return `Step ${N - i} of ${N}, back: to ${s.letter} = ${s.op} came ${(s.upstream.length > 1 ? each(s, s.upstream) : s.upstream.filter(Boolean).map(valueText)).join(", ") || "nothing"}; ${gone.join("; ") || "nothing goes on"}.`;
  }
  function refresh() {
    slider.max = total() - 1; slider.value = place;
    slider.setAttribute("aria-valuetext", sentence());
    label.textContent = `${isBack() ? "← backward" : "forward →"} ${isBack() ? place - units.length + 1 : place + 1} of ${units.length}`;
    label.className = `phase ${isBack() ? "back" : "forward"}`;
    const at = listed.findIndex(([u]) => u === unit());
    if (at >= 0 && (at * ROW < tree.scrollTop || (at + 1) * ROW > tree.scrollTop + tree.clientHeight)) tree.scrollTop = at * ROW - tree.clientHeight / 2;
    const held = detail.contains(document.activeElement) ? document.activeElement.id : null;
    drawRows(); paint(); show();
    if (held !== null) (held && detail.querySelector(`#${held}`) || detail).focus({ preventScroll: true }); // what had the focus is made anew
    say.textContent = sentence();
  }
  function go(p) { chosen = null; place = Math.max(0, Math.min(total() - 1, p)); refresh(); }
  function goTo(i) { // to a step, opening what is around it
    let opened = false;
    for (let f = around[i]; f >= 0; f = folds[f].parent) if (!folds[f].open) { folds[f].open = true; opened = true; }
    const back = isBack();
    if (opened) rebuild();
    go(back ? total() - 1 - unitOf[i] : unitOf[i]);
  }
  function visit(i) { stop(); if (i < N) goTo(i); else { chosen = i; if (![...boxes.values()].some((b) => b.leaf === i)) { const [j] = users[i][0] || [0]; for (let f = around[j]; f >= 0; f = folds[f].parent) folds[f].open = true; const at = keepPlace(); rebuild(); at(); } refresh(); } }
  function keepPlace() { const back = isBack(), i = back ? last(unit()) : first(unit()); return () => { place = back ? total() - 1 - unitOf[i] : unitOf[i]; }; }
  function rebuild() { gather(); list(); draw(); }
  const MOST = 400; // units in the drawing
  function fold(f, open) {
    if (f <= 0) return;
    const at = keepPlace();
    folds[f].open = open;
    gather();
    if (units.length > MOST) { folds[f].open = !open; gather(); at(); found.textContent = `${MOST} nodes are drawn at most: close other folds first`; return; }
    at(); list(); draw(); refresh();
  }
  function closeAround() {
    const u = unit();
    const f = u >= 0 ? around[u] : folds[-1 - u].parent;
    if (f > 0) fold(f, false);
  }
  function play() { playing.textContent = "■ stop"; if (place >= total() - 1) place = 0; timer = setInterval(() => { if (place >= total() - 1) stop(); else go(place + 1); }, 700); go(place); }
  function stop() { if (timer) clearInterval(timer); timer = null; playing.textContent = "▶ play"; }
  function theme() { const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches; root.dataset.theme = dark ? "light" : "dark"; }
  function find(text, way) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) { found.textContent = ""; return; }
    const hits = [];
    for (let i = 0; i < N + leaves.length; i++) {
      const n = node(i), all = [n.op || n.kind, n.letter, n.scope || n.name || "", n.shape.join("×"), `(${n.shape.join(", ")})`].join(" ").toLowerCase();
      if (all.includes(wanted)) hits.push(i);
    }
    if (!hits.length) { found.textContent = "no hit"; return; }
    const here = chosen !== null ? chosen : first(unit());
    const k = way > 0 ? hits.findIndex((i) => i > here) : hits.findLastIndex((i) => i < here);
    const at = k < 0 ? (way > 0 ? 0 : hits.length - 1) : k;
    found.textContent = `${at + 1} of ${hits.length}`;
    visit(hits[at]);
  }
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName) && e.target.type !== "range" || help.open) return;
    const keys = { ArrowRight: () => go(place + 1), l: () => go(place + 1), ArrowLeft: () => go(place - 1), h: () => go(place - 1), Home: () => go(0), End: () => go(total() - 1),
      b: () => go(units.length), o: () => { if (unit() < 0) fold(-1 - unit(), true); }, c: closeAround, e: () => { entry += 1; refresh(); }, t: toggleText, d: theme,
      "?": () => help.showModal(), "/": () => search.focus(), " ": () => (timer ? stop() : play()) };
    if (e.key === "Enter" && !/^(BUTTON|A)$/.test(e.target.tagName) && unit() < 0) { fold(-1 - unit(), true); e.preventDefault(); return; }
    if (e.key === " " && e.target.tagName === "BUTTON") return;
    if (keys[e.key]) { if (e.key !== " ") stop(); keys[e.key](); e.preventDefault(); }
  });

  // The walk as text, a part at a time
  const PAGE = 400;
  let written = 0;
  function more() {
    const until = Math.min(2 * N, written + PAGE);
    for (; written < until; written++) {
      if (written === 0) words.append(el("h2", {}, "Forward"));
      if (written === N) words.append(el("h2", {}, "Backward"));
      words.append(el("p", {}, written < N ? stepSentence(written, false) : stepSentence(2 * N - 1 - written, true)));
    }
    if (written === 2 * N) {
      words.append(el("h2", {}, "The gradients"), ...leaves.filter((l) => l.grad).map((l) => el("p", {}, `∂L/∂${l.letter}${l.name && l.name !== l.letter ? ` (${l.name})` : ""} is ${valueText(l.grad)}.`)));
    } else {
      const button = el("button", { id: "more", onclick: () => { button.remove(); more(); } }, `${(2 * N - written).toLocaleString("en")} more`);
      words.append(button);
    }
  }
  function toggleText() {
    const on = words.hidden;
    words.hidden = !on;
    for (const part of [tree, map, detail]) part.hidden = on;
    textButton.setAttribute("aria-pressed", String(on));
    if (on && !written) more();
    if (on) words.focus(); else { refresh(); map.focus(); }
  }

  rebuild(); refresh();
  addEventListener("resize", () => { drawRows(); paint(); });
})();
