// What the page draws by itself: scores as bands, signals with their gaps, what is attended to of them.
"use strict";
const GROUND = 0.08;  // how opaque a score of 0 is
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

function drawBands(now) {
  const { context, width, height } = cleared(byId("bands")), rows = there.activities.length, high = height / rows;
  // Whole pixels: stretches that touch show no seam.
  const x = (s) => Math.round((1 - (now - s) / there.bands_s) * width * devicePixelRatio) / devicePixelRatio;
  const band = (i, from, to, paint, alpha) => {
    context.globalAlpha = alpha;
    context.fillStyle = paint;
    context.fillRect(from, high * i + 2, to - from, high - 4);
  };
  for (let i = 0; i < rows; i++) band(i, 0, width, inks.grid, 0.35);
  for (const piece of pieces) {
    const from = Math.max(0, x(piece.from)), to = Math.min(width, x(piece.to));
    if (to > from) piece.scores.forEach((score, i) => band(i, from, to, colour(i), GROUND + (1 - GROUND) * score));
  }
  context.globalAlpha = 1;
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
  context.globalAlpha = 1;
  drawLight(name, context, x, height);
  context.lineWidth = 1.3;
  context.lineJoin = "round";
  const columns = points[0]?.low.length ?? 0;
  for (let k = 0; k < columns; k++) {
    const range = fitted(own.ranges, k, points), y = (v) => height - 4 - ((v - range.low) / (range.high - range.low || 1)) * (height - 8);
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
