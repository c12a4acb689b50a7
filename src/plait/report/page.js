"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const percent = (share) => (100 * share).toFixed(1);

// An element of `tag`, with `text` as text: names never become markup.
function element(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== "") made.textContent = text;
  return made;
}

// A <select> of `names`, and a call of `changed` whenever another is taken.
function choose(id, names, value, changed) {
  const select = byId(id);
  names.forEach((name, i) => select.append(element("option", name, { value: i })));
  select.value = value;
  const tell = () => (select.parentElement.dataset.chosen = names[select.value]);
  select.addEventListener("change", () => { tell(); changed(); });
  tell();
}

// The most accurate method among `indices`, or -1.
const best = (indices) => indices.reduce((a, b) => (a < 0 || data.accuracy[b] > data.accuracy[a] ? b : a), -1);
const every = data.methods.map((_, i) => i), own = every.filter((i) => !data.swept[i]);
const fusions = own.filter((i) => data.kinds[i] === "fusion");
const first = data.chosen >= 0 ? data.chosen : best(own.length ? own : every);
const second = best(own.filter((i) => (fusions.length ? data.kinds[i] !== "fusion" : i !== first)));

const orders = {
  "as in the data set": () => 0,
  "hardest first": (own) => (a, b) => (own[a] ?? 2) - (own[b] ?? 2),
  "largest gain first": (own, other) => (a, b) => (other[a] ?? 9) - (own[a] ?? 9) - ((other[b] ?? 9) - (own[b] ?? 9)),
};

function drawBars() {
  const method = Number(byId("bars-method").value), against = Number(byId("bars-against").value) - 1;
  const own = data.recall[method], other = against < 0 ? own : data.recall[against];
  const order = data.activities.map((_, i) => i);
  const sorting = Object.values(orders)[Number(byId("bars-order").value)];
  if (sorting.length) order.sort(sorting(own, other));
  const head = element("tr");
  head.append(element("th", "activity", { scope: "col" }), element("td", "", { className: "track" }));
  head.append(element("th", "recall, %", { className: "n", scope: "col" }));
  if (against >= 0) head.append(element("th", "gain, points", { className: "n", scope: "col" }));
  const body = element("tbody", "", { className: "of-" + data.kinds[method] });
  for (const i of order) {
    const row = element("tr"), cell = element("td", "", { className: "track" }), track = element("div");
    const mark = (className, share, side) => {
      const made = element("i", "", { className });
      made.style[side] = 100 * share + "%";
      track.append(made);
    };
    if (own[i] !== null) {
      mark("bar", own[i], "width");
      every.filter((m) => m !== method && m !== against).forEach((m) => mark("other", data.recall[m][i], "left"));
      if (against >= 0) mark("against", other[i], "left");
    }
    track.title = data.methods.map((name, m) => `${name}: ${own[i] === null ? "–" : percent(data.recall[m][i])}`).join("\n");
    cell.append(track);
    row.append(element("th", data.activities[i], { scope: "row", title: `${data.clips[i]} clips` }), cell);
    row.append(element("td", own[i] === null ? "–" : percent(own[i]), { className: "n" }));
    if (against >= 0) row.append(element("td", own[i] === null ? "–" : signed(own[i] - other[i]), { className: "n" }));
    body.append(row);
  }
  const top = element("thead");
  top.append(head);
  byId("bars").replaceChildren(top, body);
}

function signed(difference) {
  const text = percent(Math.abs(difference));
  return Number(text) === 0 ? "0.0" : (difference < 0 ? "−" : "+") + text;
}

// Clips by activity and what they were taken for: of one person, or of all that `wanted` lets through.
function countedClips(method, wanted) {
  const counts = data.activities.map(() => data.activities.map(() => 0));
  for (const [person, i, j, clips] of data.confusion[method]) if (wanted(person)) counts[i][j] += clips;
  return counts;
}

function drawMatrix() {
  const method = Number(byId("matrix-method").value), person = Number(byId("matrix-person").value) - 1;
  const counts = countedClips(method, (one) => person < 0 || one === person), table = byId("matrix");
  const others = person < 0 ? null : countedClips(method, (one) => one !== person);
  const sums = counts.map((row) => row.reduce((a, b) => a + b, 0)), mistakes = [];
  const head = element("tr"), top = element("thead"), body = element("tbody");
  head.append(element("th"));
  for (const name of data.activities) {
    const cell = element("th", "", { scope: "col", title: name });
    cell.append(element("span", name));
    head.append(cell);
  }
  counts.forEach((row, i) => {
    const line = element("tr");
    line.append(element("th", data.activities[i], { scope: "row" }));
    row.forEach((count, j) => {
      const share = sums[i] ? count / sums[i] : 0;
      const cell = element("td", count ? Math.max(1, Math.round(100 * share)) : "", { className: i === j ? "right" : "" });
      cell.title = `${data.activities[i]} → ${data.activities[j]}: ${count} of ${sums[i]}`;
      cell.style.setProperty("--a", i === j ? share : Math.min(1, 2.2 * Math.sqrt(share)) * (count > 0));
      if (i !== j && count) mistakes.push([share, i, j]);
      line.append(cell);
    });
    body.append(line);
  });
  top.append(head);
  const room = Math.min(760, table.parentElement.clientWidth - 120);
  table.style.setProperty("--cell", Math.max(23, Math.min(46, room / counts.length)) + "px");
  table.replaceChildren(top, body);
  mistakes.sort((a, b) => b[0] - a[0]);
  const elsewhere = (i, j) => others[i][j] / others[i].reduce((a, b) => a + b, 0);
  const beside = (i, j) => (others && elsewhere(i, j) >= 0 ? `; everybody else ${percent(elsewhere(i, j))}\u00a0%` : "");
  const worst = mistakes.slice(0, 3).map(([share, i, j]) => `${data.activities[i]} → ${data.activities[j]} (${percent(share)}\u00a0%${beside(i, j)})`);
  byId("mistakes").textContent = worst.length ? `Most often: ${worst.join("; ")}.` : "No clip was mistaken.";
}

choose("bars-method", data.methods, first, drawBars);
choose("bars-against", ["nothing", ...data.methods], second + 1, drawBars);
choose("bars-order", Object.keys(orders), 0, drawBars);
choose("matrix-method", data.methods, first, drawMatrix);
choose("matrix-person", ["everybody", ...data.people], 0, drawMatrix);
drawBars();
drawMatrix();

// Whatever goes on to the right says so, until it has been seen; what is folded is printed.
const wide = [...document.querySelectorAll(".scroll")];
const told = () => wide.forEach((one) => one.classList.toggle("more", one.scrollLeft + one.clientWidth + 2 < one.scrollWidth));
wide.forEach((one) => one.addEventListener("scroll", told, { passive: true }));
["resize", "load", "change", "toggle"].forEach((event) => addEventListener(event, told, true));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
told();
