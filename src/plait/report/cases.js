// The browser of cases: filters, and a card for each clip in which film, joints, signals and attention keep one time.
const caseData = document.getElementById("case-data");
if (caseData) {
  const { models, counts, cases } = JSON.parse(caseData.textContent);
  const films = JSON.parse(byId("case-films").textContent);
  const everyone = "all", atFirst = innerWidth < 640 ? 4 : 12, list = byId("cases-list"), fusion = models.length - 1;
  const unique = (key) => [...new Set(cases.map((one) => one[key]))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const who = (right) => models.map((name, i) => `${right[i] ? "✓" : "✗"} ${name}`).join(" ");
  const single = (right, value) => right.slice(0, fusion).includes(value);
  const questions = [
    [everyone, () => true],
    ["fusion right, every single wrong", (right) => right[fusion] && !single(right, true)],
    ["fusion right, a single wrong", (right) => right[fusion] && single(right, false)],
    ["led astray: a single right, fusion wrong", (right) => !right[fusion] && single(right, true)],
    ...[...new Set(cases.map((one) => who(one.right)))].map((label) => [label, (right) => who(right) === label]),
  ].filter(([, fits]) => cases.some((one) => fits(one.right)));
  choose("cases-activity", [everyone, ...unique("activity")], 0, drawCases);
  choose("cases-subject", [everyone, ...unique("subject")], 0, drawCases);
  choose("cases-who", questions.map(([label]) => label), 0, drawCases);
  const taken = (id) => byId(id).parentElement.dataset.chosen;
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

  function drawCases() {
    const activity = taken("cases-activity"), subject = taken("cases-subject"), fits = questions[Number(byId("cases-who").value)][1];
    const shown = cases.filter((one) => (activity === everyone || one.activity === activity)
      && (subject === everyone || one.subject === subject) && fits(one.right));
    const such = sum(counts.filter((one) => fits(one.right)).map((one) => one.clips));
    byId("cases-count").textContent = `${shown.length} ${shown.length === 1 ? "clip" : "clips"}, picked from ${such} ${such < sum(counts.map((one) => one.clips)) ? "of this kind" : "that were tested"}.`;
    list.replaceChildren(...shown.slice(0, atFirst).map(card));
    const rest = shown.slice(atFirst), more = byId("cases-more");
    more.hidden = rest.length === 0;
    more.textContent = `show ${rest.length} more`;
    more.onclick = () => {
      more.hidden = true;
      const cards = rest.map(card);
      list.append(...cards);
      cards[0].focus();
    };
  }

  function card(one) {
    const made = element("article", "", { className: "case", tabIndex: -1 }), tracks = [], layers = [];
    made.append(element("h3", one.activity), element("p", `${who(one.right)} · subject ${one.subject} · ${one.clip}`, { className: "note" }));
    for (const own of one.films) {
      const screen = element("div", "", { className: "screen" }), film = element("video", "", { src: films[own.file] ?? own.file, loop: true, muted: true, preload: films[own.file] ? "auto" : "metadata", playsInline: true });
      film.setAttribute("aria-label", `Film of ${one.clip}, ${own.modality}`);
      screen.append(film);
      if (one.lit[own.modality]) layers.push(overlay(one.lit[own.modality], screen));
      tracks.push(film);
      made.append(screen);
    }
    for (const own of one.joints) layers.push(body(own, one.lit[own.modality], made));
    for (const own of one.signals) layers.push(plot(own, one.lit[own.modality], one.seconds, made));
    const show = (share) => layers.forEach((layer) => layer.draw(share));
    const controls = tracks.length ? filmed(tracks, show) : clock(one.seconds, show);
    made.firstChild.nextSibling.after(...controls);
    if (Object.keys(one.lit).length) made.lastChild.after(light(layers));
    made.append(verdicts(one));
    show(0);
    return made;
  }

  // Film and all else in step; the first film has the controls.
  function filmed([film, ...others], show) {
    film.controls = true;
    const follow = () => {
      show(film.duration ? film.currentTime / film.duration : 0);
      if (!film.paused) requestAnimationFrame(follow);
    };
    ["play", "seeked", "timeupdate", "loadedmetadata"].forEach((event) => film.addEventListener(event, follow));
    ["play", "pause", "seeked"].forEach((event) => film.addEventListener(event, () => others.forEach((other) => {
      other.currentTime = film.currentTime;
      if (film.paused) other.pause(); else other.play();
    })));
    return [];
  }

  // Where there is no film: a button and a slider keep the time.
  function clock(seconds, show) {
    const line = element("p", "", { className: "clock" }), button = element("button", "▶", { type: "button", ariaLabel: "play" });
    const slider = element("input", "", { type: "range", min: 0, max: 1, step: 0.005, value: 0, ariaLabel: "time in the clip" });
    let before = null;
    const step = (now) => {
      if (before === null || !line.isConnected) return;
      slider.value = (Number(slider.value) + (now - before) / 1000 / seconds) % 1;
      before = now;
      show(Number(slider.value));
      requestAnimationFrame(step);
    };
    button.addEventListener("click", () => {
      const playing = before === null;
      before = playing ? performance.now() : null;
      Object.assign(button, { textContent: playing ? "❚❚" : "▶", ariaLabel: playing ? "pause" : "play" });
      if (playing) requestAnimationFrame(step);
    });
    slider.addEventListener("input", () => show(Number(slider.value)));
    line.append(button, slider);
    return [line];
  }

  function light(layers) {
    const label = element("label", " what the fusion attends to"), box = element("input", "", { type: "checkbox" });
    box.addEventListener("change", () => layers.forEach((layer) => layer.light(box.checked)));
    label.prepend(box);
    return label;
  }

  // What each model said, as bars.
  function verdicts(one) {
    const table = element("table", "", { className: "said" }), body = element("tbody");
    models.forEach((model, i) => one.said[i].forEach(([activity, p], rank) => {
      const row = element("tr"), cell = element("td", "", { className: "p" }), bar = element("i");
      bar.style.width = 100 * p + "%";
      bar.className = activity === one.activity ? "yes" : "no";
      cell.append(bar);
      const name = rank ? "" : `${one.right[i] ? "✓" : "✗"} ${model}`;
      row.append(element("th", name, { scope: "row", title: name }), element("td", activity, { title: activity }), cell, element("td", percent(p), { className: "n" }));
      body.append(row);
    }));
    table.append(body);
    return table;
  }

  function drawing(tag, attributes, parent) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    parent.append(node);
    return node;
  }
  const at = (share, steps) => Math.min(Math.floor(share * steps), steps - 1);

  // Signals, a line that moves with time, and a band for each step, as bright as it is attended to.
  function plot(own, lit, seconds, parent) {
    const figure = element("figure", "", { className: "signal" });
    const svg = drawing("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img", "aria-label": `${own.modality}, ${seconds.toFixed(1)} s` }, figure);
    const bands = drawing("g", { class: "bands", visibility: "hidden" }, svg);
    if (lit) lit.values.forEach((v, k) => {
      const width = 300 / lit.values.length;
      drawing("rect", { x: k * width, y: 0, width, height: 100, "fill-opacity": (0.5 * v) / 255 }, bands);
    });
    const high = 100 / own.lines.length;
    own.lines.forEach((line, i) => {
      const points = line.map((v, k) => `${(300 * k) / (line.length - 1)},${(high * (i + 0.95 - 0.9 * v)).toFixed(1)}`).join(" ");
      drawing("polyline", { points, class: "trace" }, svg);
    });
    const now = drawing("line", { x1: 0, x2: 0, y1: 0, y2: 100, class: "now" }, svg);
    figure.append(element("figcaption", own.modality, { className: "note" }));
    parent.append(figure);
    return {
      draw: (share) => ["x1", "x2"].forEach((end) => now.setAttribute(end, 300 * share)),
      light: (on) => bands.setAttribute("visibility", on ? "visible" : "hidden"),
    };
  }

  // A body of joints and bones; joints grow and glow as they are attended to, all alike where a grid has no joints.
  function body(own, lit, parent) {
    const figure = element("figure", "", { className: "body" });
    const svg = drawing("svg", { viewBox: "-0.06 -0.06 1.12 1.12", role: "img", "aria-label": `${own.modality}, moving joints` }, figure);
    const lines = own.bones.map(() => drawing("line", {}, svg)), dots = own.frames[0].map(() => drawing("circle", {}, svg));
    let on = false, shown = 0;
    const draw = (share) => {
      const frame = own.frames[at(share, own.frames.length)];
      shown = share;
      own.bones.forEach(([a, b], i) => Object.entries({ x1: frame[a][0], y1: frame[a][1], x2: frame[b][0], y2: frame[b][1] }).forEach(([key, value]) => lines[i].setAttribute(key, value)));
      dots.forEach((dot, j) => {
        const steps = lit ? lit.shape[0] : 1, many = lit && lit.shape.length > 1 ? lit.shape[1] : 1;
        const v = on && lit ? lit.values[at(share, steps) * many + (many === dots.length ? j : 0)] / 255 : 0;
        Object.entries({ cx: frame[j][0], cy: frame[j][1], r: 0.011 + 0.026 * v, "fill-opacity": on && lit ? 0.25 + 0.75 * v : 1, class: on && lit ? "lit" : "" }).forEach(([key, value]) => dot.setAttribute(key, value));
      });
    };
    figure.append(element("figcaption", own.modality, { className: "note" }));
    parent.append(figure);
    return { draw, light: (value) => { on = value; draw(shown); } };
  }

  // A map over the film, one for each step of the grid; even over the whole frame where the grid has no places.
  function overlay({ shape: [steps, height = 1, width = 1], values }, screen) {
    const canvas = element("canvas", "", { width, height, hidden: true }), context = canvas.getContext("2d");
    const draw = (share) => {
      const step = at(share, steps), pixels = context.createImageData(width, height);
      for (let i = 0; i < width * height; i++) {
        const v = values[step * width * height + i];
        pixels.data.set([255, 90 + 0.6 * v, 0, v], 4 * i);
      }
      context.putImageData(pixels, 0, 0);
    };
    screen.append(canvas);
    return { draw, light: (on) => { canvas.hidden = !on; } };
  }

  drawCases();
}
