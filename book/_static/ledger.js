/* Filters and order of the ledger's rows. What is chosen stands in the address, so that it can be sent to somebody:
   ledger.html#chapter=few-shot-collapse&verdict=fails. Without scripts all rows are shown. */
(() => {
  const place = document.getElementById("book-filter");
  const tables = [...document.querySelectorAll(".book-ledger")].map((region) => ({
    region, name: region.querySelector("thead th").textContent, body: region.querySelector("tbody"),
    rows: [...region.querySelectorAll("tbody tr")],
  }));
  const rows = tables.flatMap((t) => t.rows);
  const distinct = (values) => [...new Set(values)].filter(Boolean);
  const verdicts = distinct(rows.flatMap((r) => [r.dataset.best, r.dataset.reduced, r.dataset.full]));
  const fields = {
    chapter: ["Chapter", distinct(rows.map((r) => r.dataset.chapter))],
    verdict: ["Verdict", verdicts],
    kind: ["Evidence", distinct(rows.flatMap((r) => r.dataset.kinds.split(", ")))],
    size: ["At size", ["reduced", "full"]],
    sort: ["Order", ["verdict", "evidence"]],
  };
  const first = { size: "either", sort: "as in the book" };
  const form = document.createElement("form");
  form.setAttribute("aria-label", "Filter the ledger");
  const add = (label, control, name) => {
    const around = document.createElement("label");
    control.name = name;
    around.append(label, control);
    form.append(around);
  };
  for (const [name, [label, values]] of Object.entries(fields)) {
    const select = document.createElement("select");
    select.add(new Option(first[name] || "all", ""));
    for (const v of values) select.add(new Option(v, v));
    add(label, select, name);
  }
  const words = document.createElement("input");
  words.type = "search";
  add("Words", words, "words");
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  place.append(form, said);

  // the verdicts of a row at the chosen size; without one, of an assertion what its best evidence says, of a claim both
  const at = (row, size) => (size ? [row.dataset[size]]
    : row.dataset.best ? [row.dataset.best] : [row.dataset.reduced, row.dataset.full]);

  function show() {
    const want = Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, v.trim()]));
    const fits = (r) => (!want.chapter || r.dataset.chapter === want.chapter)
      && (!want.verdict || at(r, want.size).includes(want.verdict))
      && (!want.kind || r.dataset.kinds.split(", ").includes(want.kind))
      && want.words.toLowerCase().split(/\s+/).every((w) => r.textContent.toLowerCase().includes(w));
    const rank = { "": () => 0, evidence: (r) => fields.kind[1].indexOf(r.dataset.kinds.split(", ")[0]),
      verdict: (r) => verdicts.indexOf(at(r, want.size || (r.dataset.best ? "best" : "full"))[0]) }[want.sort];
    const counts = [];
    for (const { region, name, body, rows: mine } of tables) {
      for (const r of mine) r.hidden = !fits(r);
      body.append(...[...mine].sort((a, b) => rank(a) - rank(b)));
      const left = mine.filter((r) => !r.hidden).length;
      region.hidden = !left;
      counts.push(`${left} of ${mine.length} ${name}s`);
    }
    said.textContent = `Shown: ${counts.join(", ")}.`;
    return new URLSearchParams(Object.entries(want).filter(([, v]) => v)).toString();
  }

  function read() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return; // an ordinary anchor
    const given = new URLSearchParams(hash);
    for (const control of form.elements) control.value = given.get(control.name) || "";
    for (const control of form.querySelectorAll("select")) if (control.selectedIndex < 0) control.selectedIndex = 0;
    show();
  }

  form.addEventListener("input", () => {
    const address = show();
    history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
  });
  form.addEventListener("submit", (e) => e.preventDefault());
  window.addEventListener("hashchange", read);
  show();
  read();
})();
