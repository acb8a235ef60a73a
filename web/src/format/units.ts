// Numbers as people read them: three significant digits, binary multiples for bytes (IEC 80000-13).

export type Unit = "percent" | "bytes" | "bytes-per-second" | "load";

const BYTE_PREFIXES = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** What stands where there is no value. */
export const NO_VALUE = "–";

export function formatValue(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NO_VALUE;
  switch (unit) {
    case "percent":
      return `${trimPercent(value)}%`;
    case "bytes":
      return formatBytes(value);
    case "bytes-per-second":
      return `${formatBytes(value)}/s`;
    case "load":
      return value.toFixed(value < 100 ? 2 : 0);
  }
}

/** Labels of a value axis: as short as the ticks allow, `increment` apart; a mirrored axis shows magnitudes. */
export function formatTick(value: number, increment: number, unit: Unit): string {
  const magnitude = Math.abs(value);
  switch (unit) {
    case "percent":
      return `${magnitude.toFixed(decimalsOf(increment))}%`;
    case "bytes":
    case "bytes-per-second": {
      const power = bytePower(magnitude);
      const scaled = magnitude / 1024 ** power;
      return `${trimZeros(scaled.toFixed(2))} ${BYTE_PREFIXES[power]}B${unit === "bytes" ? "" : "/s"}`;
    }
    case "load":
      return magnitude.toFixed(decimalsOf(increment));
  }
}

export function formatBytes(bytes: number): string {
  const power = bytePower(Math.abs(bytes));
  const scaled = bytes / 1024 ** power;
  return `${power === 0 ? scaled.toFixed(0) : threeDigits(scaled)} ${BYTE_PREFIXES[power]}B`;
}

/** "22.9 of 23.5 GiB": a part in the unit of its whole. */
export function formatPartOf(partBytes: number, wholeBytes: number): string {
  const unit = 1024 ** bytePower(wholeBytes);
  return `${threeDigits(partBytes / unit)} of ${formatBytes(wholeBytes)}`;
}

/** The two largest units: "3 d 4 h", "12 min 5 s". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  if (minutes > 0) return whole % 60 === 0 ? `${minutes} min` : `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

function bytePower(magnitude: number): number {
  let power = 0;
  // 1023.5 KiB would print as "1024 KiB": the next unit begins where three digits end.
  while (power < BYTE_PREFIXES.length - 1 && magnitude / 1024 ** power >= 999.5) power += 1;
  return power;
}

function threeDigits(value: number): string {
  const magnitude = Math.abs(value);
  return value.toFixed(magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0);
}

function trimPercent(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && magnitude < 0.05) return value.toFixed(2);
  return value.toFixed(magnitude >= 99.95 ? 0 : 1);
}

function decimalsOf(increment: number): number {
  return Math.max(0, Math.min(4, -Math.floor(Math.log10(increment) + 1e-9)));
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
