// The sample browser: state lives in the address after "#", data come as script files by page.
"use strict";
const X2VLM = (() => {
  const promised = new Map(), deliver = new Map();
  const put = (key, value) => deliver.get(key)(value);
  // A script element works from disk, where fetch does not.
  const get = (key, path) => {
    if (!promised.has(key)) {
      promised.set(key, new Promise((done, failed) => {
        deliver.set(key, done);
        const script = document.createElement("script");
        script.src = path;
        script.onerror = () => failed(new Error(`${path} is missing; write the site again`));
        document.head.append(script);
      }));
    }
    return promised.get(key);
  };
  return { put, get };
})();

const browse = async (trouble) => {
  const SHOWN = 24;
  const { element } = Draw;
  const $ = (id) => document.getElementById(id);
  const set = $("cards").dataset.set;
  const index = await X2VLM.get(`${set}/index`, `data/${set}/index.js`);
  let state = {}, matching = [], runs = [], page = 0;

  const read = () => { state = Object.fromEntries(new URLSearchParams(location.hash.slice(1))); };
  const write = (changes) => {
    const next = { ...state, ...changes };
    for (const key of Object.keys(next)) if (next[key] === "" || next[key] === null) delete next[key];
    location.hash = new URLSearchParams(next).toString();
  };

  const chosen = () => {
    const valid = (text) => /^\d+$/.test(text ?? "") && Number(text) < index.runs.length;
    const a = valid(state.a) ? Number(state.a) : 0;
    return valid(state.b) && Number(state.b) !== a ? [a, Number(state.b)] : [a];
  };

  const scores = (run) => {
    const metrics = run.metrics;
    return metrics.find((metric) => metric.name === state.metric) ?? metrics[0];
  };

  const OUTCOMES = {
    right: ([a]) => a >= 0.5, wrong: ([a]) => a !== null && a < 0.5,
    partly: ([a]) => a !== null && a > 0 && a < 1,
  };
  const FLIPS = {
    gained: ([a, b]) => a !== null && a < 0.5 && b >= 0.5,
    lost: ([a, b]) => a >= 0.5 && b !== null && b < 0.5,
    "both right": ([a, b]) => a >= 0.5 && b >= 0.5,
    "both wrong": ([a, b]) => a !== null && b !== null && a < 0.5 && b < 0.5,
  };

  const filter = () => {
    const values = runs.map((run) => scores(run).values);
    const outcome = OUTCOMES[state.outcome] ?? (runs.length > 1 ? FLIPS[state.outcome] : undefined);
    const fields = index.fields.map((field) => [field.codes, field.values.indexOf(state[`f.${field.name}`])])
      .filter(([, code]) => code >= 0);
    const low = Number(state.min || 0), high = Number(state.max || Infinity);
    const words = (state.q ?? "").toLowerCase();
    matching = [];
    for (let i = 0; i < index.n; i++) {
      if (fields.some(([codes, code]) => codes[i] !== code)) continue;
      if (index.length[i] < low || index.length[i] > high) continue;
      if (outcome && !outcome(values.map((v) => v[i]))) continue;
      if (words && !index.text[i].toLowerCase().includes(words) && !index.ids[i].toLowerCase().includes(words)) continue;
      matching.push(i);
    }
    const key = (i) => values[0][i] ?? Infinity;
    if (state.sort === "worst") matching.sort((x, y) => key(x) - key(y));
    if (state.sort === "best") matching.sort((x, y) => (values[0][y] ?? -1) - (values[0][x] ?? -1));
    if (state.sort === "change" && runs.length > 1) {
      const change = (i) => Math.abs((values[1][i] ?? 0) - (values[0][i] ?? 0));
      matching.sort((x, y) => change(y) - change(x));
    }
  };

  const select = (name, label, options, current) => {
    const node = document.createElement("select");
    node.name = name;
    for (const [value, text] of options) node.add(new Option(text, value, false, value === (current ?? "")));
    return element("label", "", `${label} `, node);
  };

  const input = (name, label, type) => {
    const node = document.createElement("input");
    Object.assign(node, { name, type, value: state[name] ?? "" });
    if (type === "number") node.min = 0;
    return element("label", "", `${label} `, node);
  };

  const controls = () => {
    const [a, b] = chosen();
    const names = index.runs.map((run, place) => [String(place), `${run.name} (${run.label})`]);
    const outcomes = { ...OUTCOMES, ...(runs.length > 1 ? FLIPS : {}) };
    const focused = document.activeElement?.name;
    const parts = [
      select("a", runs.length > 1 ? "run A" : "run", names, String(a)),
      index.runs.length > 1 ? select("b", "compare with", [["", "nothing"], ...names.filter(([v]) => v !== String(a))], String(b ?? "")) : null,
      runs[0].metrics.length > 1 ? select("metric", "score", runs[0].metrics.map((m) => [m.name, m.name]), scores(runs[0]).name) : null,
      select("outcome", "outcome", [["", "all"], ...Object.keys(outcomes).map((name) => [name, name])], state.outcome),
      ...index.fields.map((field) => select(`f.${field.name}`, field.name.replaceAll("_", " "),
        [["", "all"], ...field.values.map((v) => [v, v])], state[`f.${field.name}`])),
      input("min", "words from", "number"), input("max", "to", "number"), input("q", "search", "search"),
      select("sort", "order", [["", "as in the file"], ["worst", "worst first"], ["best", "best first"],
        ...(runs.length > 1 ? [["change", "largest change first"]] : [])], state.sort),
    ];
    $("controls").replaceChildren(...parts.filter(Boolean));
    if (focused) $("controls").elements[focused]?.focus();
  };

  const fetchItem = async (i) => {
    const page = Math.floor(i / index.page), row = i % index.page;
    const items = await X2VLM.get(`${set}/${page}`, `data/${set}/${page}.js`);
    const answers = await Promise.all(chosen().map((run) =>
      X2VLM.get(`${set}/run${run}/${page}`, `data/${set}/run${run}-${page}.js`)));
    const shown = chosen().map((run, place) => ({
      name: index.runs[run].name, kind: place ? "second" : "first",
      score: scores(runs[place]).values[i], binary: scores(runs[place]).binary, answer: answers[place][row],
    }));
    return [items[row], shown];
  };

  const card = async (i) => {
    const [item, shown] = await fetchItem(i);
    const button = element("button", "open", "open");
    button.type = "button";
    button.setAttribute("aria-label", `open sample ${index.ids[i]}`);
    button.addEventListener("click", () => write({ id: String(i) }));
    return element("li", "sample", Draw.sample(index.ids[i], item, shown, false), button);
  };

  const turns = document.querySelectorAll("button[data-turn]");
  let drawn = 0;
  const draw = async () => {
    const turn = ++drawn;
    const pages = Math.max(1, Math.ceil(matching.length / SHOWN));
    page = Math.min(pages, Math.max(1, Math.trunc(Number(state.p)) || 1)) - 1;
    const cards = await Promise.all(matching.slice(page * SHOWN, (page + 1) * SHOWN).map(card));
    if (turn !== drawn) return;
    $("cards").replaceChildren(...cards);
    $("found").classList.remove("trouble");
    $("found").textContent = `${matching.length.toLocaleString("en")} of ${index.n.toLocaleString("en")} samples`;
    for (const place of document.querySelectorAll(".place")) place.textContent = `page ${page + 1} of ${pages}`;
    for (const button of turns) {
      const target = page + Number(button.dataset.turn), focused = document.activeElement === button;
      button.disabled = target < 0 || target >= pages;
      if (focused && button.disabled) button.parentElement.querySelector("button:enabled")?.focus();
    }
    $("legend").hidden = false;
    $("legend").textContent = index.task === "grounding" || index.task === "attributes"
      ? "Boxes: solid truth, dashed prediction" + (runs.length > 1 ? " of A, dotted of B." : ".")
      : runs.length > 1 ? "Gained: A wrong and B right. Lost: A right and B wrong." : "";
  };

  const detail = async () => {
    const dialog = $("detail");
    const i = Number(state.id);
    if (!/^\d+$/.test(state.id ?? "") || i >= index.n) { if (dialog.open) dialog.close(); return; }
    const [item, shown] = await fetchItem(i);
    $("sample").replaceChildren(Draw.sample(index.ids[i], item, shown, true));
    $("link").href = location.hash;
    if (!dialog.open) dialog.showModal();
  };

  const move = (step) => {
    const place = matching.indexOf(Number(state.id)) + step;
    if (place >= 0 && place < matching.length) write({ id: String(matching[place]) });
  };

  const show = async () => {
    runs = await Promise.all(chosen().map((run) =>
      X2VLM.get(`${set}/run${run}`, `data/${set}/run${run}.js`)));
    filter();
    controls();
    await draw();
  };

  // Opening a sample changes nothing behind it, so the cards stay, and so does the way back by Tab.
  let view = null, shown = null;
  const refresh = async () => {
    read();
    const wanted = new URLSearchParams({ ...state, id: "" }).toString();
    if (wanted !== view) [view, shown] = [wanted, show()];
    await shown;
    if (wanted === view) await detail();
  };

  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("change", (event) => write({ [event.target.name]: event.target.value, p: "", id: "" }));
  for (const button of turns) {
    button.addEventListener("click", () => {
      write({ p: String(page + 1 + Number(button.dataset.turn)), id: "" });
      $("found").scrollIntoView();
    });
  }
  $("close").addEventListener("click", () => write({ id: "" }));
  $("back").addEventListener("click", () => move(-1));
  $("forth").addEventListener("click", () => move(1));
  $("detail").addEventListener("cancel", (event) => { event.preventDefault(); write({ id: "" }); });
  $("detail").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  addEventListener("hashchange", () => refresh().catch(trouble));
  await refresh();
};

// Errors of scripts on the disk are hidden from the window's own handlers, so they are caught here.
const trouble = (error) => {
  const found = document.getElementById("found");
  found.textContent = error.message;
  found.classList.add("trouble");
};
browse(trouble).catch(trouble);
