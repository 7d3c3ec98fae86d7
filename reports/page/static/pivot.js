// One table for every question (a protocol on data): methods down, metrics and conditions across.
const FEW_TABLES = 12;
const FEW_ROWS = 25;
const FEW_COLUMNS = 8;
const opened = new Map(); // question -> its sorting, and whether all rows and columns are shown

function questionsOf({ values, failures }) {
  const found = new Map();
  const of = (record) => {
    if (!found.has(record.question)) {
      found.set(record.question, { index: record.question, first: record, cells: new Map(), columns: new Map() });
    }
    const question = found.get(record.question);
    if (!question.cells.has(record)) question.cells.set(record, new Map());
    return question;
  };
  for (const value of values) {
    const question = of(value.record);
    const key = `${value.metric.index}/${value.condition.index}`;
    question.cells.get(value.record).set(key, value);
    if (!question.columns.has(key)) question.columns.set(key, value);
  }
  failures.forEach((failure) => of(failure.record));
  for (const question of found.values()) question.means = meansOf(question);
  return [...found.values()].sort((a, b) => (
    TIERS.indexOf(a.first.dataset.tier) - TIERS.indexOf(b.first.dataset.tier)
    || collator.compare(a.first.protocol.name, b.first.protocol.name)
    || collator.compare(a.first.dataset.name, b.first.dataset.name) || a.index - b.index));
}

// The cells with means over seeds in place of the seeds; null where there are none, or not all seeds are shown.
function meansOf(question) {
  const cells = new Map();
  for (const record of question.cells.keys()) {
    if (record.failure) cells.set(record, new Map());
  }
  for (const value of MEANS_BY_QUESTION.get(question.index) ?? []) {
    const key = `${value.metric.index}/${value.condition.index}`;
    const shown = value.record.seeds.filter((record) => question.cells.get(record)?.has(key)).length;
    if (shown && shown < value.record.seeds.length) return null;
    if (!shown) continue;
    if (!cells.has(value.record)) cells.set(value.record, new Map());
    cells.get(value.record).set(key, value);
  }
  return [...cells.keys()].some((record) => record.seeds) ? cells : null;
}

// Metrics in the protocol's own order, the conditions of each in natural order.
function columnsOf(question) {
  const metrics = [...new Set([...question.columns.values()].map((value) => value.metric))];
  return [...question.columns].sort(([, a], [, b]) => (
    metrics.indexOf(a.metric) - metrics.indexOf(b.metric) || a.condition.order - b.condition.order));
}

function labelsOf(records) {
  const labels = [["method", "Method", (r) => `${r.method.name} ${r.method.label}`], ["dim", "Dim", (r) => r.method.dim]];
  if (new Set(records.map((r) => r.seed)).size > 1) labels.push(["seed", "Seed", (r) => r.seed]);
  const further = [
    ["sha", "Weights’ hash", (r) => r.method.sha256.slice(0, 12)], ["options", "Options’ hash", (r) => r.method.hash],
  ];
  for (const label of further) { // only where namesakes have to be told apart
    const names = records.map((record) => JSON.stringify(labels.map(([, , text]) => text(record))));
    if (new Set(names).size < names.length) labels.push(label);
  }
  return labels;
}

function orderedRecords(question, state, labels) {
  const label = labels.find(([name]) => `label ${name}` === state.by);
  const by = label ? (record) => label[2](record) : (record) => question.cells.get(record).get(state.by)?.number;
  const sign = state.descending ? -1 : 1;
  return [...question.cells.keys()].sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    const difference = label ? collator.compare(x, y) : x - y;
    return sign * difference || a.method.order - b.method.order || a.index - b.index;
  });
}

const bestFirst = (value) => value.metric.direction === "higher";

function pressed(state, name, value) {
  state.descending = state.by === name ? !state.descending : value ? bestFirst(value) : false;
  state.by = name;
}

function questionSection(question) {
  const columns = columnsOf(question);
  if (!opened.has(question.index)) opened.set(question.index, { by: null, descending: false, all: false, each: false });
  const state = opened.get(question.index);
  const section = element("section", { class: "question" });
  const draw = () => redrawn(section, () => {
    const by = columns.some(([key]) => key === state.by) || String(state.by).startsWith("label ");
    if (!by && columns.length) [state.by, state.descending] = [columns[0][0], bestFirst(columns[0][1])];
    const shown = question.means && !state.each ? { ...question, cells: question.means } : question;
    section.replaceChildren(...questionParts(shown, columns, state, draw));
  });
  draw();
  return section;
}

function questionParts(question, columns, state, draw) {
  const { protocol, dataset } = question.first;
  const records = [...question.cells.keys()];
  const labels = labelsOf(records);
  const shownColumns = state.all ? columns : columns.slice(0, FEW_COLUMNS);
  const ordered = orderedRecords(question, state, labels);
  const rows = state.all ? ordered : ordered.slice(0, FEW_ROWS);
  const ranked = question.columns.has(state.by) ? state.by : columns[0]?.[0];
  const press = (name, value) => () => { pressed(state, name, value); draw(); };
  const presets = [...new Set(records.map((record) => record.protocol.preset))].sort().join("/");
  const title = `caption-${question.index}`;
  const asked = [`${presets} preset`, question.first.toldApart, dataset === NO_DATASET ? "" : `${dataset.landmarks} landmarks`];
  const prints = [`version ${protocol.version}`, `options ${protocol.hash}`, dataset === NO_DATASET ? "" : `data ${dataset.hash}`];
  const caption = element("caption", { id: title }, element("span", { class: "still" },
    element("strong", {}, protocol.name), dataset === NO_DATASET ? "" : ` on ${dataset.name}`, " ", tier(dataset),
    element("span", { class: "aside" }, [...asked, ...prints].filter(Boolean).join(", "))));
  const headings = labels.map(([name, text]) => (
    sortHeading([text], state, `label ${name}`, press(`label ${name}`), { class: `label ${name}` })));
  const metrics = shownColumns.map(([key, value]) => sortHeading(
    [element("span", { class: "metric" }, foldable(value.metric.name), "\u00a0", arrow(value.metric)),
      value.condition.text ? element("span", { class: "condition" }, foldable(value.condition.text)) : null],
    state, key, press(key, value), { class: "numeric", title: `${value.metric.unit}. ${value.metric.definition}` }));
  const head = element("tr", {}, element("th", { scope: "col", class: "numeric rank" }, "Rank"), headings, metrics);
  const body = rows.map((record) => entryRow(record, question, labels, shownColumns, ranked));
  const table = element("table", {}, caption, element("thead", {}, head), element("tbody", {}, body));
  const box = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": title }, table);
  return [box, questionNotes(question, columns, shownColumns, rows, state, ranked, draw)];
}

function entryRow(record, question, labels, columns, ranked) {
  const cells = question.cells.get(record);
  const rank = cells.get(ranked);
  const names = labels.map(([name, , text], i) => element(
    i ? "td" : "th", { class: `label ${name}`, ...(i ? {} : { scope: "row" }) },
    i ? text(record) : methodName(record)));
  const values = record.failure
    ? [element("td", { class: "failed", colspan: Math.max(columns.length, 1) }, `failed: ${record.failure}`)]
    : columns.map(([key]) => element("td", { class: "numeric" }, cells.has(key) ? valueLink(cells.get(key)) : "—"));
  return element("tr", {}, element("td", { class: "numeric" }, rank ? rankNode(rank) : ""), names, values);
}

function questionNotes(question, columns, shownColumns, rows, state, ranked, draw) {
  const records = [...question.cells.keys()];
  const measured = records.reduce((sum, record) => sum + question.cells.get(record).size, 0);
  const names = new Set(records.map((record) => record.method.name));
  const absent = question.first.protocol.baselines.filter((name) => !names.has(name));
  const by = question.columns.get(ranked);
  const texts = [
    by ? `Rank by ${by.metric.name} ${by.condition.text}`.trim() : "",
    `${measured.toLocaleString("en")} of ${plural(records.length * columns.length, "cell")} measured`,
    absent.length ? `not shown here, and learning nothing: ${absent.join(", ")}` : "",
  ].filter(Boolean);
  const notes = element("p", { class: "notes" }, `${texts.join("; ")}. `);
  const hidden = [
    rows.length < records.length ? plural(records.length, "row") : "",
    shownColumns.length < columns.length ? plural(columns.length, "column") : "",
  ].filter(Boolean);
  if (question.means) {
    const seeds = [...question.means.keys()].find((record) => record.seeds).seeds.length;
    const turn = () => { state.each = !state.each; draw(); };
    notes.prepend(state.each ? "" : `Mean ± standard deviation over ${seeds} seeds, [ ] the mean of their intervals. `);
    notes.append(element("button", { type: "button", class: "more", "data-sort": "each", onclick: turn },
      state.each ? "Show the mean over seeds" : `Show each of ${seeds} seeds`), " ");
  }
  if (hidden.length) {
    const open = () => { state.all = true; draw(); };
    notes.append(element("button", { type: "button", class: "more", "data-sort": "all", onclick: open },
      `Show all ${hidden.join(" and ")}`));
  }
  return notes;
}

function drawTables(container, matches, count = FEW_TABLES) {
  const questions = questionsOf(matches);
  const rest = questions.length - count;
  const sections = questions.slice(0, count).map((question) => questionSection(question));
  container.replaceChildren(...sections);
  if (rest <= 0) return;
  const more = () => {
    drawTables(container, matches, count + FEW_TABLES);
    container.querySelectorAll(".question")[count]?.querySelector(".scroll").focus();
  };
  container.append(element("p", {}, element("button", { type: "button", class: "more", onclick: more },
    `Show ${Math.min(rest, FEW_TABLES)} more of ${plural(questions.length, "table")}`)));
}

