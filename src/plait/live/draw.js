// What the page draws by itself: scores as bands, signals with their gaps, what is attended to of them.
"use strict";
const GROUND = 0.08;  // how opaque a score of 0 is
const BANDS_STEPS = 3, LOG_STEPS = 5, EDGE = 4;  // of a time axis; pixels that signals keep from the edges
const inks = {};

function readInks() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "muted", "grid", "surface", "fusion"]) inks[name] = style.getPropertyValue(`--${name}`).trim();
}

// A canvas as large as it is shown, cleared, in its own pixels.
function cleared(canvas) {
  const scale = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight, context = canvas.getContext("2d");
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

const minutes = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

// What is written beneath: how long ago; once nothing comes any more, when that was.
function axes() {
  for (const [id, lasts, steps] of [["bands-axis", there.bands_s, BANDS_STEPS], ["logs-axis", there.shown_s, LOG_STEPS]]) {
    byId(id).replaceChildren(...Array.from({ length: steps + 1 }, (_, i) => {
      const ago = Math.round(lasts * (steps - i) / steps), when = Math.max(0, (clock ?? 0) - ago);
      return element("span", !running && clock !== null ? minutes(when) : ago ? `${ago} s${i ? "" : " ago"}` : "now");
    }));
  }
}

function drawBands(now) {
  there.bands.forEach(({ canvas }, i) => {
    const { context, width, height } = cleared(canvas);
    // Whole pixels: stretches that touch show no seam.
    const x = (s) => Math.round((1 - (now - s) / there.bands_s) * width * devicePixelRatio) / devicePixelRatio;
    context.globalAlpha = 0.35;
    context.fillStyle = inks.grid;
    context.fillRect(0, 0, width, height);
    context.fillStyle = colour(i);
    for (const piece of pieces) {
      const from = Math.max(0, x(piece.from)), to = Math.min(width, x(piece.to));
      context.globalAlpha = GROUND + (1 - GROUND) * piece.scores[i];
      if (to > from) context.fillRect(from, 0, to - from, height);
    }
    context.globalAlpha = 1;
  });
}

// From what to what each column is drawn.
function writeScales(own) {
  own.scales.forEach((node, k) => {
    const { low = 1, high = 0 } = own.ranges[k] ?? {}, digits = 1 - Math.floor(Math.log10(high - low));
    const plain = -4 <= digits && digits <= 5, shown = (v) => Number(plain ? v.toFixed(Math.max(0, digits)) : v.toPrecision(3)) || 0;
    const told = (v) => (plain ? shown(v).toFixed(Math.max(0, digits)) : String(shown(v)));
    say(node, low <= high ? `${told(low)} to ${told(high)}` : "");
  });
}

function drawLog(name, own, now) {
  const { context, width, height } = cleared(own.canvas), from = now - there.shown_s;
  const x = (s) => ((s - from) / there.shown_s) * width;
  const points = own.points.filter((point) => point.t > from - 1);
  const steps = points.slice(1).map((point, i) => point.t - points[i].t).sort((a, b) => a - b);
  const gap = Math.max(0.1, 5 * (steps[steps.length >> 1] ?? 0));
  context.fillStyle = inks.grid;
  context.globalAlpha = 0.7;
  if (!points.length) context.fillRect(0, 0, width, height);
  points.forEach((point, i) => {
    const next = points[i + 1]?.t ?? now;
    if (next - point.t > gap + (i + 1 < points.length ? 0 : 0.4)) context.fillRect(x(point.t), 0, x(next) - x(point.t), height);
  });
  for (let i = 1; i < LOG_STEPS; i++) context.fillRect(Math.round(width * i / LOG_STEPS), 0, 1, height);
  for (const y of [EDGE, height / 2, height - EDGE]) context.fillRect(0, Math.round(y), width, 1);
  context.globalAlpha = 1;
  drawLight(name, context, x, height);
  context.lineWidth = 1.3;
  context.lineJoin = "round";
  const columns = points[0]?.low.length ?? 0;
  for (let k = 0; k < columns; k++) {
    const range = fitted(own.ranges, k, points), y = (v) => height - EDGE - ((v - range.low) / (range.high - range.low || 1)) * (height - 2 * EDGE);
    let before = null;
    context.beginPath();
    for (const point of points) {
      if (point.low[k] === null) { before = null; continue; }
      if (before === null || point.t - before > gap) context.moveTo(x(point.t) - 0.5, y(point.low[k]));
      context.lineTo(x(point.t), y(point.low[k]));
      if (point.high[k] !== point.low[k]) context.lineTo(x(point.t), y(point.high[k]));
      before = point.t;
    }
    context.strokeStyle = there.palette[k % there.palette.length];
    context.stroke();
  }
}

// Steps of the last window, as bright as they are attended to.
function drawLight(name, context, x, height) {
  for (const [sensor, seen] of Object.entries(light?.lit ?? {})) {
    if (!there.sensors[sensor]?.includes(name)) continue;
    const lasts = (light.stop_s - light.start_s) / seen.shape[0], places = seen.values.length / seen.shape[0];
    context.fillStyle = inks.fusion;
    for (let step = 0; step < seen.shape[0]; step++) {
      const here = seen.values.slice(step * places, (step + 1) * places);
      context.globalAlpha = 0.5 * Math.max(...here) / 255;
      context.fillRect(x(light.start_s + step * lasts), 0, x(lasts) - x(0), height);
    }
  }
  context.globalAlpha = 1;
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

// From the least to the greatest of a column: wider at once, narrower by and by.
function fitted(ranges, k, points) {
  let low = Infinity, high = -Infinity;
  for (const point of points) {
    if (point.low[k] === null) continue;
    low = Math.min(low, point.low[k]);
    high = Math.max(high, point.high[k]);
  }
  const range = (ranges[k] ??= { low, high });
  if (low > high) return range;
  range.low = low < range.low ? low : range.low + 0.005 * (low - range.low);
  range.high = high > range.high ? high : range.high + 0.005 * (high - range.high);
  return range;
}
