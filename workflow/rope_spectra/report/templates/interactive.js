"use strict";
// The page's state is that of its controls: whatever changes, all of it is drawn again.

const data = JSON.parse(document.getElementById("data").textContent);
const byName = Object.fromEntries(data.arms.map((arm) => [arm.name, arm]));
const hidden = new Set();
const sorted = { column: null, up: true };
const control = (name) => document.querySelector(`[name=${name}]`);
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];

function records({ columns, rows }) {
  return rows.map((row) => Object.fromEntries(row.map((value, k) => [columns[k], value])));
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const points = records(data.points);
const seeds = records(data.seeds);
const frontier = data.frontier ? records(data.frontier.points) : [];

// Vega's three scripts lie in the page compressed.
async function loadVega() {
  for (const packed of document.querySelectorAll("script[type='application/gzip']")) {
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    document.head.append(element("script", { textContent: await new Response(stream).text() }));
  }
}

// Controls.

function fill(name, values, labels = {}, chosen = undefined) {
  const select = control(name);
  if (!select) return;
  const options = values.map((value) => new Option(labels[value] ?? value, value));
  select.replaceChildren(...options);
  if (values.map(String).includes(String(chosen))) select.value = chosen;
  select.closest("label").hidden = values.length < 2;
}

function fillControls() {
  const phases = unique(points.map((point) => point.phase));
  fill("measure", Object.keys(data.labels).filter(hasPoints), data.labels);
  fill("protocol", unique(points.map((point) => point.protocol)), {}, data.protocol);
  fill("phase", phases, {}, "confirmation");
  fillLengths();
  fill("table", Object.keys(data.tables));
  if (data.frontier) fill("axis", Object.keys(data.frontier.labels), data.frontier.labels);
}

const hasPoints = (measure) => points.some((point) => point.measure === measure);

// The lengths at which there is something to show: chosen is what was, else the endpoint's.
function fillLengths() {
  const lengths = unique(points.filter(isChosen).map((point) => point.length));
  lengths.sort((a, b) => a - b);
  const wanted = [control("length").value, String(data.length)];
  const chosen = wanted.find((length) => lengths.map(String).includes(length));
  fill("length", lengths, {}, chosen ?? lengths.at(-1));
}

// The line and the marker by which the charts show an arm.
function swatch({ color, dashes, shape }) {
  const holder = element("template");
  holder.innerHTML = `<svg width="34" height="14" viewBox="-17 -7 34 14" aria-hidden="true">
    <line x1="-16" x2="16" stroke="${color}" stroke-width="2" stroke-dasharray="${dashes}"/>
    <path d="${shape}" transform="scale(4.5)" fill="${color}"/></svg>`;
  return holder.content.firstChild;
}

function fillArms() {
  const choices = data.arms.map((arm) => {
    const box = element("input", { type: "checkbox", checked: true, value: arm.name });
    box.addEventListener("change", () => {
      box.checked ? hidden.delete(arm.name) : hidden.add(arm.name);
      draw();
    });
    return element("label", {}, box, swatch(arm), element("span", {}, arm.label));
  });
  document.querySelector(".choices").append(...choices);
  for (const button of document.querySelectorAll("#arms button")) {
    button.addEventListener("click", () => {
      for (const box of document.querySelectorAll("#arms input")) {
        box.checked = Boolean(button.dataset.all);
        box.checked ? hidden.delete(box.value) : hidden.add(box.value);
      }
      draw();
    });
  }
}

// Charts, as Vega-Lite has them.

const isChosen = (row) =>
  row.measure === control("measure").value &&
  row.protocol === control("protocol").value &&
  row.phase === control("phase").value;

const isShown = (row) => !hidden.has(row.arm);
const isAtLength = (row) => String(row.length) === control("length").value;
const ofArms = (key) => ({
  domain: data.arms.map((arm) => arm.name),
  range: data.arms.map((arm) => arm[key]),
});
const COLOR = { field: "arm", type: "nominal", scale: ofArms("color"), legend: null };
const SHAPE = { field: "arm", type: "nominal", scale: ofArms("shape"), legend: null };
const DASH = { field: "arm", type: "nominal", scale: ofArms("dashes"), legend: null };
const REFERENCE = { type: "rule", color: "#666", strokeDash: [4, 3] };

// Only the arm below the pointer keeps its strength.
const NEAR = {
  name: "near",
  select: { type: "point", fields: ["arm"], on: "mouseover", clear: "mouseout" },
};
const FADED = { condition: { param: "near", value: 1 }, value: 0.15 };

const tip = (field, title, format) =>
  format
    ? { field, title, type: "quantitative", format }
    : { field, title, type: "nominal" };

function tooltip(rows, title) {
  const lines = [tip("label", "spectrum"), tip("length", "length"), tip("value", title, ".4~r")];
  lines.push(tip("interval", "95 % interval"), tip("seeds", "seeds"));
  if (rows.some((row) => row.wins)) lines.push(tip("baseline", "against"), tip("wins", "wins"));
  if (rows.some((row) => row.verdict)) lines.push(tip("verdict", "verdict"));
  return lines;
}

// Four digits, without zeros at the end.
const digits = (value) => Number(value.toPrecision(4)).toString();

function annotated(row) {
  const interval = row.low == null ? "" : `${digits(row.low)} to ${digits(row.high)}`;
  return { ...row, label: byName[row.arm].label, interval };
}

// A title in lines of about so many pixels.
function wrapped(title, pixels) {
  const lines = [""];
  for (const word of title.split(" ")) {
    if ((lines.at(-1).length + word.length) * 6.3 > pixels) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return lines;
}

// An axis of numbers that holds all of `values`.
function scale(field, title, values, type = control("scale").value) {
  const room = Math.min(330, window.innerWidth - 180);
  const axis = { title: wrapped(title, room), format: ",~r", grid: true };
  if (type === "linear") {
    return { field, type: "quantitative", scale: { type, zero: false, nice: true }, axis };
  }
  const [low, high] = [0.97 * Math.min(...values), 1.03 * Math.max(...values)];
  const ticks = logTicks(low, high);
  return {
    field,
    type: "quantitative",
    scale: { type, domain: [low, high], nice: false },
    axis: { ...axis, values: ticks },
  };
}

// Ticks of a log axis as in the figures: few over decades, even ones where it is nearly linear.
function logTicks(low, high) {
  const ratio = high / low;
  if (ratio < 2.5) {
    const size = 10 ** Math.floor(Math.log10((high - low) / 4));
    const step = size * [5, 2, 1].find((times) => times * size * 4 <= high - low);
    const first = Math.ceil(low / step);
    const count = Math.floor(high / step) - first + 1;
    return Array.from({ length: count }, (_, k) => Number(((first + k) * step).toPrecision(6)));
  }
  const steps = ratio > 1000 ? [1] : ratio > 8 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade += 1) {
    ticks.push(...steps.map((step) => Number((step * 10 ** decade).toPrecision(6))));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

// All numbers that a chart shows along the axis of its values.
function extent(rows, ofSeeds = []) {
  const drawn = rows.map((row) => row.value);
  if (control("intervals").checked) drawn.push(...rows.flatMap((row) => [row.low, row.high]));
  if (control("seeds").checked) drawn.push(...ofSeeds.map((row) => row.value));
  return drawn.filter((value) => value > 0);
}

function byLength(rows, ofSeeds) {
  const title = data.labels[control("measure").value];
  const lengths = unique(rows.map((row) => row.length)).sort((a, b) => a - b);
  const domain = [lengths[0] / 1.12, lengths.at(-1) * 1.12];
  const x = {
    field: "length",
    type: "quantitative",
    scale: { type: "log", base: 2, domain, nice: false },
    axis: { title: "length, tokens", values: lengths, format: "d", grid: false },
  };
  const y = scale("value", title, extent(rows, ofSeeds).concat(isRelative() ? [1] : []));
  const layer = [
    {
      mark: { type: "line", strokeWidth: 1.8 },
      encoding: { x, y, color: COLOR, strokeDash: DASH, opacity: FADED },
    },
    {
      mark: { type: "point", filled: true, size: 60, opacity: 1 },
      params: [NEAR],
      encoding: {
        x, y, color: COLOR, shape: SHAPE, opacity: FADED, tooltip: tooltip(rows, title),
      },
    },
  ];
  if (control("intervals").checked) {
    layer.unshift(bar({ x, y: { ...y, field: "low" }, y2: { field: "high" }, opacity: FADED }));
  }
  if (control("seeds").checked) layer.unshift(dots(ofSeeds, { x, y }));
  if (isRelative()) layer.unshift(atOne("y"));
  if (data.train_length >= domain[0] && data.train_length <= domain[1]) {
    layer.unshift({
      mark: { ...REFERENCE, tooltip: "training length" },
      data: { values: [{ length: data.train_length }] },
      encoding: { x },
    });
  }
  return { height: 340, data: { values: rows }, layer };
}

const isRelative = () => control("measure").value !== "ppl";

// A line where nothing differs: perplexity that has not grown, or is that of the baseline.
function atOne(channel) {
  const encoding = { [channel]: { datum: 1 } };
  return { mark: { ...REFERENCE, tooltip: false }, data: { values: [{}] }, encoding };
}

// The intervals of the means; the encoding says from where to where.
function bar(encoding) {
  return {
    transform: [{ filter: "isValid(datum.low)" }],
    mark: { type: "rule", strokeWidth: 1.2 },
    encoding: { ...encoding, color: COLOR },
  };
}

// The values of the single seeds.
function dots(rows, encoding) {
  const lines = [tip("label", "spectrum"), tip("seed", "seed"), tip("value", "value", ".4~r")];
  return {
    data: { values: rows },
    mark: { type: "circle", size: 22 },
    encoding: { ...encoding, color: COLOR, opacity: { value: 0.45 }, tooltip: lines },
  };
}

function atLength(rows, ofSeeds) {
  const title = data.labels[control("measure").value];
  const order = [...rows].sort((a, b) => a.value - b.value).map((row) => row.label);
  const y = {
    field: "label",
    type: "nominal",
    sort: order,
    axis: { title: null, labelLimit: Math.min(230, window.innerWidth * 0.46), grid: true },
  };
  const x = scale("value", title, extent(rows, ofSeeds).concat(isRelative() ? [1] : []));
  const layer = [
    {
      mark: { type: "point", filled: true, size: 70, opacity: 1 },
      encoding: { x, y, color: COLOR, shape: SHAPE, tooltip: tooltip(rows, title) },
    },
  ];
  if (control("intervals").checked) {
    layer.unshift(bar({ y, x: { ...x, field: "low" }, x2: { field: "high" } }));
  }
  if (control("seeds").checked) layer.unshift(dots(ofSeeds, { x, y }));
  if (isRelative()) layer.unshift(atOne("x"));
  return { height: { step: 24 }, data: { values: rows }, layer };
}

function againstRetrieval(rows) {
  const title = data.frontier.labels[control("axis").value];
  const x = scale("value", title, extent(rows), "log");
  const y = {
    field: "accuracy",
    type: "quantitative",
    scale: { zero: false, nice: true },
    axis: { title: `Accuracy of retrieval at ${data.frontier.length} tokens`, format: "%" },
  };
  const lines = [
    tip("label", "spectrum"),
    tip("value", title, ".4~r"),
    tip("interval", "95 % interval"),
    tip("accuracy", "accuracy", ".1%"),
    tip("verdict", "verdict on retrieval"),
  ];
  const fill = { condition: { test: "datum.is_free", ...COLOR }, value: "white" };
  const layer = [
    {
      mark: { type: "point", size: 80, strokeWidth: 1.6, opacity: 1 },
      params: [NEAR],
      encoding: { x, y, color: COLOR, fill, shape: SHAPE, opacity: FADED, tooltip: lines },
    },
  ];
  if (control("intervals").checked) {
    const up = { x, y: { ...y, field: "accuracy_low" }, y2: { field: "accuracy_high" } };
    const across = { y, x: { ...x, field: "low" }, x2: { field: "high" } };
    layer.unshift(bar({ ...up, opacity: FADED }), bar({ ...across, opacity: FADED }));
  }
  layer.unshift(
    {
      mark: { ...REFERENCE, strokeDash: [1, 2], tooltip: "chance" },
      data: { values: [{ accuracy: data.frontier.chance }] },
      encoding: { y },
    },
    {
      transform: [{ filter: "datum.is_free" }],
      mark: { type: "line", color: "#666", strokeWidth: 1, tooltip: false },
      encoding: { x, y },
    },
  );
  return { height: 340, data: { values: rows }, layer };
}

async function show(id, spec) {
  const place = byId(id);
  if (!spec.data.values.length) {
    place.replaceChildren(element("p", { className: "remark" }, "Nothing to show."));
    return;
  }
  const whole = {
    ...spec,
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    config: {
      font: "system-ui, sans-serif",
      axis: {
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: "normal",
        gridColor: "#e8e8e8",
      },
      view: { stroke: null },
    },
  };
  const actions = { export: true, source: false, compiled: false, editor: false };
  const file = `${data.experiment}-${id}`.replace("/", "-");
  await vegaEmbed(place, whole, { actions, downloadFileName: file, renderer: "svg" });
}

// Arms of which no number is finite, as of runs that have diverged; baselines are not relative.
function sayWhatIsMissing(chosen) {
  const drawn = new Set(chosen.map((row) => row.arm));
  const baselines = new Set(chosen.map((row) => row.baseline));
  const missing = data.arms.filter(({ name }) => !drawn.has(name) && !baselines.has(name));
  const names = missing.map((arm) => arm.label).join(", ");
  byId("without-value").textContent = names && `Without a value here: ${names}.`;
}

async function draw() {
  fillLengths();
  const chosen = points.filter(isChosen);
  const rows = chosen.filter(isShown).map(annotated);
  const ofSeeds = seeds.filter((row) => isChosen(row) && isShown(row)).map(annotated);
  sayWhatIsMissing(chosen);
  drawTable();
  await show("by-length", byLength(rows, ofSeeds));
  await show("at-length", atLength(rows.filter(isAtLength), ofSeeds.filter(isAtLength)));
  if (data.frontier) {
    const isOnAxis = (row) => row.axis === control("axis").value && isShown(row);
    await show("frontier", againstRetrieval(frontier.filter(isOnAxis).map(annotated)));
  }
  document.body.dataset.ready = "true";
}

// The table.

// Columns to begin with; all others are a choice away.
const MAIN = {
  "summary.csv": [
    "spectrum", "remap", "protocol", "length", "n_seeds", "ppl_mean", "ppl_std", "ppl_ci95_low",
    "ppl_ci95_high", "degradation_mean", "baseline", "ppl_ratio", "degradation_ratio", "p_holm",
    "wins", "degradation_wins", "endpoint", "metric", "verdict", "rank",
  ],
  "frontier.csv": [
    "spectrum", "remap", "n_seeds", "degradation", "log_ppl", "accuracy", "non_dominated",
    "non_dominated_share", "baseline", "delta_accuracy", "p_holm", "wins", "verdict",
  ],
};
const parsed = {};

const armOf = (row) => (row.remap === "none" ? row.spectrum : `${row.spectrum}+${row.remap}`);

function isInTable(row, name) {
  const wanted = control("rows").value;
  if (wanted === "all") return true;
  if (hidden.has(armOf(row))) return false;
  if (name !== "summary.csv") return true;
  const isHere = row.protocol === control("protocol").value && row.phase === control("phase").value;
  return isHere && (wanted === "protocol" || isAtLength(row));
}

// Numbers by size, all else by name; what does not exist comes last either way.
function compare(a, b) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [number(a), number(b)];
  const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  return sorted.up ? order : -order;
}

function number(text) {
  if (text === "inf" || text === "-inf") return text === "inf" ? Infinity : -Infinity;
  return text.trim() === "" ? NaN : Number(text);
}

function cell(text, isName) {
  if (isName) return element("th", { scope: "row" }, text);
  const value = number(text);
  if (Number.isNaN(value)) return element("td", {}, text);
  const isLong = Number.isFinite(value) && !Number.isInteger(value);
  const properties = { className: "number", title: isLong ? text : "" };
  return element("td", properties, isLong ? digits(value) : text);
}

function drawTable() {
  const name = control("table")?.value ?? "summary.csv";
  parsed[name] ??= vega.read(data.tables[name], { type: "csv", parse: {} });
  const all = parsed[name].columns ?? Object.keys(parsed[name][0]);
  const isMain = (column) => control("columns").value === "all" || MAIN[name].includes(column);
  // The name of the spectrum stays in view, so it comes first.
  const columns = unique(["spectrum", ...all]).filter(isMain);
  const rows = parsed[name].filter((row) => isInTable(row, name));
  if (columns.includes(sorted.column)) {
    rows.sort((a, b) => compare(a[sorted.column], b[sorted.column]));
  }
  const head = element("tr", {}, ...columns.map((column) => header(column, data.meanings[name])));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map((column) => cell(row[column], column === "spectrum"))),
  );
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  byId("table").replaceChildren(table);
}

function header(column, meanings) {
  const meaning = (meanings[column] ?? "").replaceAll(/[`*]/g, "");
  const isSorted = sorted.column === column;
  const arrow = isSorted ? (sorted.up ? " ▲" : " ▼") : "";
  const button = element("button", { type: "button", title: meaning }, column + arrow);
  button.addEventListener("click", () => {
    sorted.up = isSorted ? !sorted.up : true;
    sorted.column = column;
    byId("meaning").textContent = `${column}: ${meaning}`;
    drawTable();
  });
  const made = element("th", { scope: "col" }, button);
  if (isSorted) made.ariaSort = sorted.up ? "ascending" : "descending";
  return made;
}

async function start() {
  try {
    await loadVega();
    fillControls();
    fillArms();
    for (const each of document.querySelectorAll("select, #controls input")) {
      each.addEventListener("change", draw);
    }
    await draw();
  } catch (error) {
    const remedy = "It needs a browser of 2023 or newer.";
    byId("failure").textContent = `This page cannot be drawn: ${error}. ${remedy}`;
    byId("failure").hidden = false;
  }
}

start();
