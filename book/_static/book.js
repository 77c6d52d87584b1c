/* Interactive figures without a kernel: range controls choose among results computed before; Plotly is loaded from
   the book itself, when a reader comes near such a figure. Before a page is printed its folds open, and close after. */
(() => {
  const here = document.currentScript.src;
  const plotly = new URL("../vendor/plotly.min.js", here).href;
  const load = () => new Promise((done, fail) => {
    if (window.Plotly) return done();
    const script = document.createElement("script");
    script.src = plotly;
    script.onload = done;
    script.onerror = fail;
    document.head.append(script);
  });

  function control(spec, id, onchange) {
    const label = document.createElement("label");
    const text = document.createElement("span");
    const input = document.createElement("input");
    Object.assign(input, { type: "range", min: 0, max: spec.values.length - 1, step: 1, value: spec.start, id });
    const say = () => {
      const value = spec.values[input.valueAsNumber];
      text.textContent = `${spec.label}: ${value}`;
      input.setAttribute("aria-valuetext", value);
    };
    input.addEventListener("input", () => { say(); onchange(); });
    say();
    label.append(text, input);
    return { label, input };
  }

  async function enliven(figure) {
    const spec = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    await load();
    const plot = document.createElement("div");
    const bar = document.createElement("div");
    const said = document.createElement("p");
    bar.className = "book-controls";
    said.className = "book-describe";
    said.setAttribute("aria-live", "polite");
    const layout = { ...spec.layout, autosize: true, paper_bgcolor: "#fff", plot_bgcolor: "#fff" };
    const draw = () => {
      const at = controls.map((c) => c.input.valueAsNumber);
      const traces = at.reduce((frames, i) => frames[i], spec.frames);
      Plotly.react(plot, traces, layout, { responsive: true, displayModeBar: false });
      said.textContent = spec.describe[at.reduce((k, i, c) => k * spec.controls[c].values.length + i, 0)];
    };
    const controls = spec.controls.map((c, k) => control(c, `${figure.id}-control-${k}`, draw));
    bar.append(...controls.map((c) => c.label));
    figure.querySelector(".book-still").remove();
    figure.prepend(bar, plot, said);
    draw();
    figure.dataset.ready = "true";
  }

  // folds that were closed open on paper; pictures that nobody scrolled to are loaded
  let opened = [];
  window.addEventListener("beforeprint", () => {
    for (const image of document.querySelectorAll("img[loading='lazy']")) image.loading = "eager";
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
  });

  document.addEventListener("DOMContentLoaded", () => {
    // Plotly weighs more than all else on a page: it is loaded when a figure that needs it comes near the screen
    const near = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        enliven(target).catch((e) => console.error("interactive figure", target.id, e));
      }
    }, { rootMargin: "1500px" });
    for (const figure of document.querySelectorAll("figure.book-plotly")) near.observe(figure);
    // Sphinx finds pages by words; the ledger finds the very claims
    const results = document.getElementById("search-results"), query = new URLSearchParams(location.search).get("q");
    if (results && query) {
      const link = document.createElement("a"), line = document.createElement("p");
      link.href = `${new URL("../book/ledger.html", here).href}#${new URLSearchParams({ words: query })}`;
      link.textContent = `Assertions and claims that say \u201c${query}\u201d`;
      line.append(link);
      results.before(line);
    }
    for (const region of document.querySelectorAll(".derivation, .book-table:not([tabindex])")) {
      if (region.scrollWidth > region.clientWidth) {
        region.tabIndex = 0;
        region.setAttribute("role", "region");
        region.setAttribute("aria-label", region.querySelector("caption")?.textContent || "table");
      }
    }
  });
})();
