// The page of a session: one WebSocket, what it said last, and pictures of that.
"use strict";
const byId = (id) => document.getElementById(id);
const WAITS_MS = [1000, 2000, 5000, 10000, 30000], FRAME_MS = 30, CALM_MS = 500, WRITE_MS = 500;
const ENLARGED = 1.5;  // at most, of a picture where there is room
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let socket, tries = 0, ended = false, there = null;  // `there`: what the opening said
let told = null, running = false, offset = null, clock = null;
let windows = [], pieces = [], light = null, drawn = 0, written = 0, owed = null;

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
    rest();
    if (ended) return;
    say(byId("state"), tries < 3 ? "The connection is lost; trying again." : "No connection; trying again. If the server was started anew, open the address that it says.");
    setTimeout(connect, WAITS_MS[Math.min(tries++, WAITS_MS.length - 1)]);
  };
}

function hear(message) {
  if (message.kind === "opening") open(message);
  else if (message.kind === "now") follow(message);
  else if (message.kind === "ended") {
    ended = true;
    say(byId("state"), `${message.why} Windows scored: ${told.scored}, skipped: ${told.skipped}.`);
    byId("state").setAttribute("data-ended", "");
    document.title = "ended · plait live";
    byId("lights").disabled = true;
  }
}

// Nothing comes any more, or not for now: nothing is said to be present.
function rest() {
  if (!there) return;
  for (const [name, node] of Object.entries(there.notes)) {
    node.dataset.state = "unknown";
    say(node, name);
  }
  axes();
}

// What there is: everything that was shown before goes.
function open(message) {
  there = message;
  Object.assign(there, { screens: [], traces: {}, notes: {}, gone: new Set(), met: new Set() });
  [tries, ended, running, offset, clock, told] = [0, false, true, null, null, null];
  [windows, pieces, light] = [[], [], null];
  say(byId("state"), "");
  byId("state").removeAttribute("data-ended");
  say(byId("news"), "");
  say(byId("method"), there.method);
  axes();
  document.querySelector("main").classList.toggle("blind", there.videos.length === 0);
  byId("looking").hidden = there.videos.length === 0 && !there.attention;
  byId("screens").replaceChildren(...there.videos.map(screen));
  byId("logs").replaceChildren(...Object.entries(there.logs).map(log));
  byId("signals").hidden = Object.keys(there.logs).length === 0;
  byId("sensors").replaceChildren(...Object.keys(there.sensors).map((name) => (there.notes[name] = element("li", name))));
  there.bands = there.activities.map(band);
  byId("names").replaceChildren(...there.bands.map((own) => own.line));
  byId("names").parentElement.classList.toggle("many", there.activities.length > there.palette.length);
  // Unseen, each activity takes the room that it will need.
  byId("heading").replaceChildren(byId("activity"), ...there.activities.map((name) => {
    const room = element("p", name);
    room.setAttribute("aria-hidden", "true");
    return room;
  }));
  byId("square").hidden = true;
  byId("switch").hidden = !there.attention;
  byId("lights").disabled = false;
  ask();
}

// Those beyond the colours that there are share one, as in a report's timeline.
const colour = (i) => (i < there.palette.length ? there.palette[i] : inks.muted);

function band(name, i) {
  const line = element("li"), called = element("span", "", { className: "called" }), swatch = element("i");
  const canvas = element("canvas"), value = element("span", "", { className: "value" });
  called.dataset.name = name;
  called.append(element("span", name));
  swatch.style.background = colour(i);
  canvas.setAttribute("aria-hidden", "true");
  line.append(swatch, called, canvas, value);
  return { line, called, canvas, value };
}

function screen(name) {
  const figure = element("figure", "", { className: "screen" }), frame = element("div", "", { className: "frame" });
  const picture = element("canvas", "", { className: "picture", width: 224, height: 224 }), lit = element("canvas", "", { className: "lit", hidden: true });
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
  const scales = columns.slice(0, there.palette.length).map((column, i) => {
    const line = element("span"), mark = element("i"), scale = element("small");
    mark.style.background = there.palette[i];
    line.append(mark, element("span", column), " ", scale);
    caption.append(line);
    return scale;
  });
  if (columns.length > there.palette.length) caption.append(element("span", `and ${columns.length - there.palette.length} more`));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Readings of ${name}, the last ${there.shown_s} seconds`);
  figure.append(caption, canvas);
  there.traces[name] = { figure, title, canvas, scales, points: [], ranges: [] };
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
      }
      own.picture.getContext("2d").drawImage(bitmap, 0, 0);
      if (!own.picture.dataset.shown || width !== bitmap.width || height !== bitmap.height) frame();
      own.picture.dataset.shown = Number(own.picture.dataset.shown ?? 0) + 1;
      bitmap.close();
    } catch { /* a picture that cannot be unpacked is left out */ }
  }
  own.busy = false;
}

// Pictures are not enlarged much where there is room, and it is said what they show.
function frame() {
  for (const { picture } of there.screens) picture.parentElement.style.maxWidth = `${70 * picture.width / picture.height}vh`;
  const widest = Math.max(...there.screens.map((own) => own.picture.width));
  document.querySelector("main").style.setProperty("--picture", `${ENLARGED * widest}px`);
  const seen = Object.values(there.sensors).flat();
  byId("square").hidden = !there.screens.every(({ name, picture }) => picture.width === picture.height && seen.includes(name));
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
  there.bands.forEach(({ called, value }, i) => {
    say(value, `${(100 * last.scores[i]).toFixed(0)} %`);
    called.toggleAttribute("aria-current", there.activities[i] === last.predicted);
  });
}

// Which sensors are seen, and what keeps those that are not.
function notice() {
  const last = windows.at(-1), news = [];
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
    if (!fault.length) {
      if (there.gone.delete(name)) news.push(`${name} is ${there.met.has(name) ? "back" : "there"}`);
      there.met.add(name);
    } else if (last && !there.gone.has(name)) {  // before the first window everybody is on the way
      there.gone.add(name);
      news.push(`${name}: ${streams.length > 1 ? "incomplete" : "silent"}`);
    }
  }
  if (news.length) say(byId("news"), news.join(", "));
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
  for (const key of document.querySelectorAll(".key")) key.hidden = !there.attention || !byId("lights").checked;
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ attention: byId("lights").checked }));
  if (!byId("lights").checked) shine(null);
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
    const whole = Math.max(0, clock), last = windows.at(-1);
    say(byId("time"), minutes(whole));
    byId("present").toggleAttribute("data-stale", !running || !last || clock - last.stop_s > there.window_s + there.patience_s + 2);
    if (light && clock - light.stop_s > there.shown_s) shine(null);
    drawBands(clock);
    for (const [name, own] of Object.entries(there.traces)) drawLog(name, own, clock);
    if (at - written > WRITE_MS) {
      written = at;
      Object.values(there.traces).forEach(writeScales);
    }
  }
}

readInks();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(readInks));
byId("lights").addEventListener("change", ask);
connect();
requestAnimationFrame(draw);
