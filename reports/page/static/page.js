// Ties the parts together: filters, the two views of the leaderboard, light and dark, addresses, printing.
const board = byId("board");
const view = () => document.querySelector("input[name=view]:checked").value;

function update() {
  const matches = matching();
  const records = new Set([...matches.values, ...matches.failures].map((value) => value.record));
  byId("found").textContent = records.size
    ? `${plural(matches.values.length, "value")} of ${plural(records.size, "run")}`
    : "Nothing matches. Reset the filters to see all runs.";
  if (!records.size) board.replaceChildren();
  else if (view() === "values") drawValues(board, matches);
  else drawTables(board, matches);
}

let waiting;
function updateSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(update, VALUES.length > 20000 ? 250 : 60);
}

const themes = ["auto", "light", "dark"];
const themeButton = byId("theme");
function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = `Colours: ${theme}`;
  themeButton.dataset.now = theme;
}
themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(themeButton.dataset.now) + 1) % themes.length];
  setTheme(next);
  try { localStorage.setItem("bench-theme", next); } catch { /* a file may have no storage */ }
});
let remembered = null;
try { remembered = localStorage.getItem("bench-theme"); } catch { /* a file may have no storage */ }
setTheme(themes.includes(remembered) ? remembered : "auto");

fillFilters();
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("input", () => { listed.page = 0; updateSoon(); });
byId("views").addEventListener("change", update);
byId("filters").addEventListener("reset", () => setTimeout(update));

// Folded parts are printed open, and folded again afterwards.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details[data-print]:not([open])")];
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

addEventListener("hashchange", followAddress);
update();
followAddress();
document.documentElement.dataset.ready = "";
