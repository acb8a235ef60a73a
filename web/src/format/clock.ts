// Times in the zone of the browser, 24 hours, the same in every locale.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "05:34", or "05:34:20" with seconds. */
export function formatClock(atS: number, withSeconds: boolean): string {
  const date = new Date(atS * 1000);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${clock}:${two(date.getSeconds())}` : clock;
}

/** "24 Nov". */
export function formatDay(atS: number): string {
  const date = new Date(atS * 1000);
  return `${date.getDate()} ${MONTHS[date.getMonth()]}`;
}

/** "24 Nov 2026, 05:34:20". */
export function formatMoment(atS: number): string {
  return `${formatDay(atS)} ${new Date(atS * 1000).getFullYear()}, ${formatClock(atS, true)}`;
}

/** A range of time as short as it can be said: the day once where both ends share it. */
export function formatRange(fromS: number, toS: number): string {
  const withSeconds = toS - fromS < 600 || fromS % 60 !== 0 || toS % 60 !== 0;
  const from = `${formatDay(fromS)}, ${formatClock(fromS, withSeconds)}`;
  const to = formatClock(toS, withSeconds);
  return formatDay(fromS) === formatDay(toS) ? `${from} – ${to}` : `${from} – ${formatDay(toS)}, ${to}`;
}

/** Labels of a time axis with ticks `incrementS` apart: the day where it changes, else the clock. */
export function formatTimeTicks(ticks: readonly number[], incrementS: number): string[] {
  return ticks.map((tick, index) => {
    const previous = ticks[index - 1];
    const newDay = previous !== undefined && formatDay(previous) !== formatDay(tick);
    if (incrementS >= 86400 || newDay) return formatDay(tick);
    return formatClock(tick, incrementS < 60);
  });
}

/** "UTC+02:00" at that moment. */
export function formatZone(atS: number): string {
  const minutes = -new Date(atS * 1000).getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const magnitude = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(magnitude / 60))}:${two(magnitude % 60)}`;
}

/** The value of an `<input type="datetime-local" step="1">`, and back: seconds since the epoch, or null. */
export function toLocalInput(atS: number): string {
  const date = new Date(atS * 1000);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${formatClock(atS, true)}`;
}

export function fromLocalInput(text: string): number | null {
  const milliseconds = new Date(text).getTime(); // without a zone: local time, by ECMA-262
  return Number.isNaN(milliseconds) ? null : Math.floor(milliseconds / 1000);
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}
