// Time: steps of an axis, and how instants and durations are written. Microseconds everywhere.

const SECOND = 1e6;
const STEPS = [
  ...[1, 10, 100, 1e3, 1e4, 1e5].flatMap((unit) => [unit, 2 * unit, 5 * unit]),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * SECOND),
];

/** The smallest step whose ticks are at least `apart` microseconds from each other. */
function step(apart) {
  return STEPS.find((candidate) => candidate >= apart) ?? Math.ceil(apart / (86400 * SECOND)) * 86400 * SECOND;
}

function decimals(step) {
  return step >= SECOND ? 0 : Math.min(6, Math.ceil(-Math.log10(step / SECOND) - 1e-9));
}

const two = (n) => String(n).padStart(2, "0");

/** True time since the start: 1:02:03.250; as many decimals as the step needs. */
function elapsed(at, step = 1000) {
  const digits = decimals(step);
  const unit = 10 ** (6 - digits);
  const whole = Math.round(Math.abs(at) / unit) * unit;
  const seconds = Math.floor(whole / SECOND);
  const part = digits ? "." + String(Math.round((whole % SECOND) / unit)).padStart(digits, "0") : "";
  const hours = Math.floor(seconds / 3600);
  const clock = `${hours ? hours + ":" + two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)}:${two(seconds % 60)}`;
  return (at < 0 ? "−" : "") + clock + part;
}

/** Time of day by some wall clock, in UTC. */
function timeOfDay(epoch, at, step = 1000) {
  const day = 86400 * SECOND;
  const digits = decimals(step);
  const unit = 10 ** (6 - digits);
  const within = ((Math.round((epoch + at) / unit) * unit) % day + day) % day;
  const seconds = Math.floor(within / SECOND);
  const part = digits ? "." + String(Math.round((within % SECOND) / unit)).padStart(digits, "0") : "";
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}${part}`;
}

/** A duration in the unit that suits it. */
function duration(us) {
  const size = Math.abs(us);
  if (size < 1000) return `${Math.round(us)} µs`;
  if (size < SECOND) return `${+(us / 1000).toPrecision(4)} ms`;
  if (size < 120 * SECOND) return `${+(us / SECOND).toPrecision(4)} s`;
  if (size < 7200 * SECOND) return `${+(us / 60 / SECOND).toPrecision(4)} min`;
  return `${+(us / 3600 / SECOND).toPrecision(4)} h`;
}

function skewText(us) {
  return Math.abs(us) < 500 ? "" : (us > 0 ? "+" : "−") + duration(Math.abs(us));
}
