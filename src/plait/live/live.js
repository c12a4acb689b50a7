// The page of a session: one WebSocket, what it said last, and pictures of that.
"use strict";
const byId = (id) => document.getElementById(id);
const MOST_WAIT_MS = 5000, FRAME_MS = 30, CALM_MS = 500;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let socket, tries = 0, ended = false, there = null;  // `there`: what the opening said
let told = null, running = false, offset = null, clock = null;
let windows = [], pieces = [], light = null, drawn = 0, owed = null;

// An element of `tag`, with `text` as text: names never become markup.
function element(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== "") made.textContent = text;
  return made;
}

// Text is only set where it differs, so that what reads pages aloud hears of changes alone.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? hear(JSON.parse(data)) : look(data));
  socket.onclose = () => {
    running = false;
    owed = null;
    if (!ended) say(byId("state"), tries < 3 ? "The connection is lost; trying again." : "No connection; trying again. If the server was started anew, open the address that it says.");
    setTimeout(connect, ended ? MOST_WAIT_MS : Math.min(MOST_WAIT_MS, 500 * 2 ** tries++));
  };
}

function hear(message) {
  if (message.kind === "opening") open(message);
  else if (message.kind === "now") follow(message);
  else if (message.kind === "ended") {
    ended = true;
    running = false;
    say(byId("state"), message.why);
  }
}

// What there is: everything that was shown before goes.
function open(message) {
  there = message;
  Object.assign(there, { screens: [], traces: {}, notes: {}, gone: new Set() });
  [tries, ended, running, offset, clock, told] = [0, false, true, null, null, null];
  [windows, pieces, light] = [[], [], null];
  say(byId("state"), "");
  say(byId("method"), there.method);
  say(byId("bands-from"), `${there.bands_s} s ago`);
  say(byId("logs-from"), `${there.shown_s} s ago`);
  document.querySelector("main").classList.toggle("blind", there.videos.length === 0);
  byId("screens").replaceChildren(...there.videos.map(screen));
  byId("logs").replaceChildren(...Object.entries(there.logs).map(log));
  byId("signals").hidden = Object.keys(there.logs).length === 0;
  byId("sensors").replaceChildren(...Object.keys(there.sensors).map((name) => (there.notes[name] = element("li", name))));
  byId("names").replaceChildren(...there.activities.map((name, i) => {
    const line = element("li", "", { title: name }), swatch = element("i");
    swatch.style.background = colour(i);
    line.append(swatch, name);
    return line;
  }));
  byId("bands").style.height = `calc(var(--row) * ${there.activities.length})`;
  byId("bands").parentElement.classList.toggle("many", there.activities.length > there.palette.length);
  byId("values").replaceChildren(...there.activities.map(() => element("li")));
  byId("switch").hidden = !there.attention;
  if (there.attention) ask();
}

// Those beyond the colours that there are share one, as in a report's timeline.
const colour = (i) => (i < there.palette.length ? there.palette[i] : inks.muted);

function screen(name) {
  const figure = element("figure", "", { className: "screen" }), frame = element("div", "", { className: "frame" });
  const picture = element("canvas", "", { className: "picture", width: 16, height: 9 }), lit = element("canvas", "", { className: "lit", hidden: true });
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `Picture of ${name}`);
  frame.append(picture, lit);
  figure.append(frame);
  if (there.videos.length > 1) figure.append(element("figcaption", name, { className: "note" }));
  there.screens.push({ name, figure, picture, lit, next: null, busy: false });
  return figure;
}

function log([name, columns]) {
  const figure = element("figure", "", { className: "log" }), caption = element("figcaption"), canvas = element("canvas");
  const title = element("b", name);
  caption.append(title);
  columns.slice(0, there.palette.length).forEach((column, i) => {
    const line = element("span"), mark = element("i");
    mark.style.background = there.palette[i];
    line.append(mark, column);
    caption.append(line);
  });
  if (columns.length > there.palette.length) caption.append(element("span", `and ${columns.length - there.palette.length} more`));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Readings of ${name}, the last ${there.shown_s} seconds`);
  figure.append(caption, canvas);
  there.traces[name] = { figure, title, canvas, points: [], ranges: [] };
  return figure;
}

// A picture: the number of its video, its time, a JPEG. While one is unpacked the newest waits, others go.
function look(data) {
  const own = there?.screens[new DataView(data).getUint8(0)];
  if (!own) return;
  own.next = new Blob([new Uint8Array(data, 9)], { type: "image/jpeg" });
  if (!own.busy) unpack(own);
}

async function unpack(own) {
  own.busy = true;
  while (own.next) {
    const blob = own.next;
    own.next = null;
    try {
      const { width, height } = own.picture, bitmap = await createImageBitmap(blob);
      if (width !== bitmap.width || height !== bitmap.height) {
        Object.assign(own.picture, { width: bitmap.width, height: bitmap.height });
        own.picture.parentElement.style.maxWidth = `${70 * bitmap.width / bitmap.height}vh`;
      }
      own.picture.getContext("2d").drawImage(bitmap, 0, 0);
      own.picture.dataset.shown = Number(own.picture.dataset.shown ?? 0) + 1;
      bitmap.close();
    } catch { /* a picture that cannot be unpacked is left out */ }
  }
  own.busy = false;
}

function follow(message) {
  told = message;
  owed = message.n;
  if (message.clock_s !== null) {
    const seen = message.clock_s - there.speed * performance.now() / 1000;
    offset = offset === null || Math.abs(seen - offset) > 0.5 || !there.speed ? seen : offset + 0.1 * (seen - offset);
  }
  for (const [name, news] of Object.entries(message.signals)) take(there.traces[name].points, news);
  if (message.windows.length) {
    windows.push(...message.windows);
    const last = windows.at(-1);
    windows = windows.filter((one) => one.stop_s > last.stop_s - there.bands_s - there.window_s);
    pieces = means(windows);
    present(last);
  }
  if ("light" in message) shine(message.light);
  notice();
  say(byId("median"), message.latency_ms ? `${message.latency_ms[0].toFixed(0)} ms` : "–");
  say(byId("worst"), message.latency_ms ? `${message.latency_ms[1].toFixed(0)} ms` : "–");
  say(byId("scored"), String(message.scored));
  say(byId("skipped"), String(message.skipped));
}

// Points in order; one that was there already is replaced.
function take(points, news) {
  news.bins.forEach((bin, i) => {
    const point = { bin, t: news.t[i], low: news.low[i], high: (news.high ?? news.low)[i] };
    let at = points.length;
    while (at > 0 && points[at - 1].bin > bin) at--;
    points.splice(points[at - 1]?.bin === bin ? at - 1 : at, points[at - 1]?.bin === bin ? 1 : 0, point);
  });
  while (points.length && points[0].t < points.at(-1).t - there.shown_s - 2) points.shift();
}

function present(last) {
  const best = Math.max(...last.scores);
  say(byId("activity"), last.predicted);
  say(document.querySelector("#score b"), `${(100 * best).toFixed(0)} %`);
  const bar = document.querySelector("#score i");
  bar.style.width = `${100 * best}%`;
  bar.style.background = colour(there.activities.indexOf(last.predicted));
  document.title = `${last.predicted} · plait live`;
  [...byId("values").children].forEach((line, i) => say(line, `${(100 * last.scores[i]).toFixed(0)} %`));
  [...byId("names").children].forEach((line, i) => line.toggleAttribute("aria-current", there.activities[i] === last.predicted));
}

// Which sensors are seen, and what keeps those that are not.
function notice() {
  const last = windows.at(-1);
  const faults = (streams, own) => streams.map((name) => {
    const state = told.streams[name], called = name === own ? "" : `${name} `;
    if (!state) return `${called}not there`;
    if (state.ended) return `${called}has ended`;
    if (state.silent_s === null) return `${called}no reading yet`;
    return state.silent_s > there.patience_s ? `${called}silent for ${state.silent_s.toFixed(1)} s` : null;
  }).filter(Boolean);
  const mark = (node, fault, waiting) => (node.dataset.state = fault.length ? "gone" : waiting ? "waiting" : "seen");
  for (const [name, streams] of Object.entries(there.sensors)) {
    const fault = faults(streams, name), node = there.notes[name], waiting = last && !last.seen.includes(name);
    mark(node, fault, waiting || !last);
    say(node, fault.length ? `${name}: ${fault.join(", ")}` : waiting ? `${name}: not in this window` : name);
    if (fault.length && last && !there.gone.has(name)) say(byId("news"), `${name}: ${streams.length > 1 ? "incomplete" : "silent"}`);
    if (!fault.length && there.gone.has(name)) say(byId("news"), `${name} is back`);
    there.gone[fault.length ? "add" : "delete"](name);
  }
  for (const own of there.screens) mark(own.figure, faults([own.name], own.name));
  for (const [name, own] of Object.entries(there.traces)) {
    const fault = faults([name], name);
    mark(own.figure, fault);
    say(own.title, [name, ...fault].join(": "));
  }
}

// Stretches of time between which windows begin or end, each with the mean of the windows over it.
function means(all) {
  const edges = [...new Set(all.flatMap((one) => [one.start_s, one.stop_s]))].sort((a, b) => a - b), found = [];
  for (let i = 1; i < edges.length; i++) {
    const middle = (edges[i - 1] + edges[i]) / 2, over = all.filter((one) => one.start_s < middle && middle < one.stop_s);
    if (over.length) found.push({ from: edges[i - 1], to: edges[i], scores: there.activities.map((_, k) => over.reduce((sum, one) => sum + one.scores[k], 0) / over.length) });
  }
  return found;
}

function ask() {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ attention: byId("lights").checked }));
  if (!byId("lights").checked) shine(null);
}

// What is attended to at the end of the last window, over the pictures; the signals draw theirs themselves.
function shine(found) {
  light = byId("lights").checked ? found : null;
  for (const own of there.screens) {
    const [, seen] = Object.entries(light?.lit ?? {}).find(([name]) => String(there.sensors[name]) === own.name) ?? [];
    own.lit.hidden = !seen;
    if (!seen) continue;
    const [steps, height = 1, width = 1] = seen.shape, context = own.lit.getContext("2d");
    Object.assign(own.lit, { width, height });
    // A square grid saw the middle square of the picture.
    const across = own.picture.width / own.picture.height, square = width === height;
    own.lit.style.inset = square && across > 1 ? `0 ${50 - 50 / across}%` : square && across < 1 ? `${50 - 50 * across}% 0` : "0";
    own.lit.style.width = square && across > 1 ? `${100 / across}%` : "100%";
    own.lit.style.height = square && across < 1 ? `${100 * across}%` : "100%";
    const pixels = context.createImageData(width, height), last = (steps - 1) * width * height;
    for (let i = 0; i < width * height; i++) {
      const v = seen.values[last + i];
      pixels.data.set([255, 90 + 0.6 * v, 0, v], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
  }
}

function draw(at) {
  requestAnimationFrame(draw);
  if (owed !== null && socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ got: owed }));  // so nothing comes to a page that nobody looks at
    owed = null;
  }
  if (!there || at - drawn < (calm.matches ? CALM_MS : FRAME_MS)) return;
  drawn = at;
  if (running && offset !== null) clock = offset + there.speed * at / 1000;
  if (clock !== null) {
    const whole = Math.max(0, Math.floor(clock)), last = windows.at(-1);
    say(byId("time"), `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`);
    byId("present").toggleAttribute("data-stale", !running || !last || clock - last.stop_s > there.window_s + there.patience_s + 2);
    if (light && clock - light.stop_s > there.shown_s) shine(null);
    drawBands(clock);
    for (const [name, own] of Object.entries(there.traces)) drawLog(name, own, clock);
  }
}

readInks();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(readInks));
byId("lights").addEventListener("change", ask);
connect();
requestAnimationFrame(draw);
