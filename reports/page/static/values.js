// Every value in one list, a page at a time.
const PAGE_ROWS = 100;
const listed = { by: "protocol", descending: false, page: 0 };

const VALUE_COLUMNS = {
  method: ["Method", (v) => v.record.method.order],
  protocol: ["Protocol", (v) => v.record.protocol.order],
  dataset: ["Data", (v) => TIERS.indexOf(v.record.dataset.tier) * DATASETS.length + v.record.dataset.order],
  metric: ["Metric", (v) => v.metric?.order],
  condition: ["Condition", (v) => v.condition?.order],
  value: ["Value", (v) => v.number],
  unit: ["Unit", (v) => v.metric?.unit],
  count: ["n", (v) => (v.count === null ? undefined : v.count)],
  rank: ["Rank", (v) => v.rank],
  seed: ["Seed", (v) => Number(v.record.seed)],
};
const NUMERIC = new Set(["value", "count", "rank", "seed"]);

function sortedValues({ values, failures }) {
  const key = VALUE_COLUMNS[listed.by][1];
  const sign = listed.descending ? -1 : 1;
  return [...values, ...failures].map((value) => [key(value), value]).sort(([x, a], [y, b]) => {
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    return sign * (x < y ? -1 : x > y ? 1 : 0) || a.record.index - b.record.index || a.place - b.place;
  }).map(([, value]) => value);
}

function valueRow(value) {
  const { record, metric } = value;
  const cells = {
    method: methodName(record),
    protocol: [record.protocol.name, element("span", { class: "aside" }, record.protocol.preset)],
    dataset: [record.dataset === NO_DATASET ? null : element("div", {}, record.dataset.name), tier(record.dataset)],
    metric: metric ? [foldable(metric.name), "\u00a0", arrow(metric)] : "",
    condition: value.condition?.text ?? "",
    value: metric ? valueLink(value) : `failed: ${record.failure}`,
    unit: metric?.unit ?? "",
    count: value.count ?? "",
    rank: metric ? rankNode(value) : "",
    seed: record.seed,
  };
  return element("tr", {}, Object.entries(cells).map(([name, content]) => (
    name === "method" ? element("th", { scope: "row", class: "label" }, content)
      : element("td", { class: `${NUMERIC.has(name) && metric ? "numeric " : ""}col-${name}` }, content))));
}

function drawValues(container, matches) {
  const sorted = sortedValues(matches);
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE_ROWS));
  const draw = () => redrawn(container, () => {
    listed.page = Math.min(Math.max(listed.page, 0), pages - 1);
    const start = listed.page * PAGE_ROWS;
    const rows = sorted.slice(start, start + PAGE_ROWS);
    const press = (name) => () => {
      listed.descending = listed.by === name && !listed.descending;
      [listed.by, listed.page] = [name, 0];
      redrawn(container, () => drawValues(container, matches));
    };
    const headings = Object.entries(VALUE_COLUMNS).map(([name, [text]]) => (
      sortHeading([text], listed, name, press(name), { class: NUMERIC.has(name) ? "numeric" : "" })));
    const caption = element("caption", { id: "values-caption" }, element("span", { class: "still" }, "All values"));
    const table = element("table", { class: "values" }, caption,
      element("thead", {}, element("tr", {}, headings)), element("tbody", {}, rows.map(valueRow)));
    const turn = (text, page, off) => element("button", {
      type: "button", disabled: off, "data-sort": text,
      onclick: () => { listed.page = page; draw(); },
    }, text);
    const [first, last] = [listed.page === 0, listed.page === pages - 1];
    const place = sorted.length
      ? `${(start + 1).toLocaleString("en")}–${(start + rows.length).toLocaleString("en")} of ${sorted.length.toLocaleString("en")}`
      : "none";
    container.replaceChildren(
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "values-caption" }, table),
      element("nav", { class: "pager", "aria-label": "Pages of the list" },
        turn("First", 0, first), turn("Previous", listed.page - 1, first),
        element("span", { role: "status" }, place),
        turn("Next", listed.page + 1, last), turn("Last", pages - 1, last)));
  });
  draw();
}

