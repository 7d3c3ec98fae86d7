// Which values are shown: those that match every choice and every word.
const FILTERS = {
  protocol: (value) => value.record.protocol.name,
  dataset: (value) => value.record.dataset.name,
  method: (value) => value.record.method.name,
  preset: (value) => value.record.protocol.preset,
  metric: (value) => value.metric?.name,
};

const haystacks = new Map(RECORDS.map((record) => [record, [
  record.id, record.method.name, record.method.label, record.protocol.name, record.protocol.preset,
  record.dataset.name, TIER_TEXTS[record.dataset.tier], `seed ${record.seed}`, record.failure,
].join(" ").toLowerCase()]));

// A failed run has no value; an entry without one stands for it.
const FAILURES = RECORDS.filter((record) => record.failure).map((record) => ({ record, place: 0 }));

function fillFilters() {
  for (const [name, of] of Object.entries(FILTERS)) {
    const known = new Set([...VALUES, ...FAILURES].map(of).filter((text) => text !== undefined));
    const options = [...known].sort(collator.compare).map((text) => element("option", { value: text }, text));
    byId(`filter-${name}`).append(...options);
  }
}

function choices() {
  const chosen = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, byId(`filter-${name}`)]));
  // the first option is "all"; a record may have any text for a name, so its place decides, not its value
  return Object.entries(chosen).filter(([, select]) => select.selectedIndex > 0)
    .map(([name, select]) => [FILTERS[name], select.value]);
}

function matching() {
  const wanted = choices();
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const missing = new Map(); // of each record, the words that its value has to have instead
  for (const record of RECORDS) missing.set(record, words.filter((word) => !haystacks.get(record).includes(word)));
  const texts = new Map();
  const matches = (value) => {
    if (!wanted.every(([of, text]) => of(value) === text)) return false;
    const left = missing.get(value.record);
    if (!left.length) return true;
    if (!value.metric) return false;
    const key = value.metric.index * CONDITIONS.length + value.condition.index;
    if (!texts.has(key)) texts.set(key, `${value.metric.name} ${value.condition.text}`.toLowerCase());
    return left.every((word) => texts.get(key).includes(word));
  };
  return { values: VALUES.filter(matches), failures: FAILURES.filter(matches) };
}

