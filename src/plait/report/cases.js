// The browser of cases: filters, and a card for each clip whose signals and attention follow its film.
const caseData = document.getElementById("case-data");
if (caseData) {
  const { models, cases } = JSON.parse(caseData.textContent);
  const everyone = "all", list = byId("cases-list");
  const unique = (key) => [...new Set(cases.map((one) => one[key]))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const who = (right) => {
    const names = models.filter((_, i) => right[i]);
    return names.length === 0 ? "nobody right" : names.length === models.length ? "all right" : `right: ${names.join(", ")}`;
  };
  const combinations = [...new Set(cases.map((one) => who(one.right)))];
  choose("cases-activity", [everyone, ...unique("activity")], 0, drawCases);
  choose("cases-subject", [everyone, ...unique("subject")], 0, drawCases);
  choose("cases-who", [everyone, ...combinations], 0, drawCases);
  const taken = (id) => byId(id).parentElement.dataset.chosen;

  function drawCases() {
    const [activity, subject, right] = ["cases-activity", "cases-subject", "cases-who"].map(taken);
    const shown = cases.filter((one) => (activity === everyone || one.activity === activity)
      && (subject === everyone || one.subject === subject) && (right === everyone || who(one.right) === right));
    byId("cases-count").textContent = `${shown.length} of ${cases.length} clips.`;
    list.replaceChildren(...shown.map(card));
  }

  function card(one) {
    const made = element("article", "", { className: "case" });
    made.append(element("h3", one.activity), element("p", `${who(one.right)} · subject ${one.subject} · ${one.clip}`, { className: "note" }));
    const screen = element("div", "", { className: "screen" });
    const film = one.film ? element("video", "", { src: one.film, controls: true, loop: true, muted: true, preload: "metadata", playsInline: true }) : null;
    const layer = film && one.heat ? overlay(one.heat) : null;
    if (film) {
      film.setAttribute("aria-label", `Film of ${one.clip}`);
      screen.append(film);
      if (layer) screen.append(layer.canvas);
    }
    const lines = one.signals.map((own) => plot(own, one.seconds));
    made.append(screen);
    if (layer) {
      const label = element("label", " where the fusion attends"), box = element("input", "", { type: "checkbox" });
      box.addEventListener("change", () => { layer.canvas.hidden = !box.checked; });
      label.prepend(box);
      made.append(label);
    }
    lines.forEach((line) => made.append(line.figure));
    made.append(verdicts(one));
    if (film) {
      const follow = () => {
        const share = film.duration ? film.currentTime / film.duration : 0;
        lines.forEach((line) => line.move(share));
        if (layer) layer.draw(share);
        if (!film.paused) requestAnimationFrame(follow);
      };
      ["play", "seeked", "timeupdate", "loadedmetadata"].forEach((event) => film.addEventListener(event, follow));
      if (layer) layer.draw(0);
    }
    return made;
  }

  // What each model said, as bars.
  function verdicts(one) {
    const table = element("table", "", { className: "said" }), body = element("tbody");
    models.forEach((model, i) => one.said[i].forEach(([activity, p], rank) => {
      const row = element("tr"), cell = element("td", "", { className: "p" }), bar = element("i");
      bar.style.width = 100 * p + "%";
      bar.className = activity === one.activity ? "yes" : "no";
      cell.append(bar);
      row.append(element("th", rank ? "" : `${one.right[i] ? "✓" : "✗"} ${model}`, { scope: "row" }), element("td", activity), cell, element("td", percent(p), { className: "n" }));
      body.append(row);
    }));
    table.append(body);
    return table;
  }

  // Signals with a line that moves with the film.
  function plot(own, seconds) {
    const figure = element("figure", "", { className: "signal" });
    const make = (tag, attributes, parent) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
      parent.append(node);
      return node;
    };
    const svg = make("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img", "aria-label": `${own.modality}, ${seconds.toFixed(1)} s` }, figure);
    const high = 100 / own.lines.length;
    own.lines.forEach((line, i) => {
      const points = line.map((v, k) => `${(300 * k) / (line.length - 1)},${(high * (i + 0.95 - 0.9 * v)).toFixed(1)}`).join(" ");
      make("polyline", { points, class: "trace" }, svg);
    });
    const now = make("line", { x1: 0, x2: 0, y1: 0, y2: 100, class: "now" }, svg);
    figure.append(element("figcaption", own.modality, { className: "note" }));
    return { figure, move: (share) => ["x1", "x2"].forEach((end) => now.setAttribute(end, 300 * share)) };
  }

  // A map over the film, one for each step of the grid.
  function overlay({ shape: [steps, height, width], values }) {
    const canvas = element("canvas", "", { width, height, hidden: true });
    const context = canvas.getContext("2d");
    const draw = (share) => {
      const step = Math.min(Math.floor(share * steps), steps - 1), pixels = context.createImageData(width, height);
      for (let i = 0; i < width * height; i++) {
        const v = values[step * width * height + i];
        pixels.data.set([255, 90 + 0.6 * v, 0, v], 4 * i);
      }
      context.putImageData(pixels, 0, 0);
    };
    return { canvas, draw };
  }

  drawCases();
}
