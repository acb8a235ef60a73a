// The Prometheus HTTP API, as far as the pages need it. Addresses are relative to the page, so that it works below
// any path. https://prometheus.io/docs/prometheus/latest/querying/api/
import type { Grid } from "../time/steps.ts";
import { ApiError, unreachable } from "./errors.ts";

export type Labels = Readonly<Record<string, string>>;

/** One sample as JSON has it: seconds since the epoch, and the value as text ("NaN" and "+Inf" included). */
export type WireSample = readonly [number, string];

export interface InstantSeries {
  readonly metric: Labels;
  readonly value: WireSample;
}

export interface RangeSeries {
  readonly metric: Labels;
  readonly values: readonly WireSample[];
}

export interface Target {
  readonly labels: Labels;
  readonly scrapeUrl: string;
  readonly health: string;
  readonly lastError: string;
  readonly scrapeInterval?: string;
}

type Parameters = Readonly<Record<string, string>>;

const TIMEOUT_MS = 30_000;
const PROXY_STATUSES = new Set([502, 503, 504]);

export class PrometheusApi {
  private readonly base: string;
  private clockSkewMs = 0;

  constructor(base: string) {
    this.base = base;
  }

  /** Seconds since the epoch by the server's clock: that is the one its samples are on. */
  nowS(): number {
    return (Date.now() + this.clockSkewMs) / 1000;
  }

  /** An instant vector at `atS`. Raises ApiError, or AbortError where the signal says so. */
  async instant(query: string, atS: number, signal: AbortSignal): Promise<InstantSeries[]> {
    const data = await this.get("api/v1/query", { query, time: String(atS) }, signal);
    return resultOf<InstantSeries>(data, "vector");
  }

  /** A matrix over the grid. */
  async range(query: string, grid: Grid, signal: AbortSignal): Promise<RangeSeries[]> {
    const { startS, endS, stepS } = grid;
    const window = { start: String(startS), end: String(endS), step: String(stepS) };
    return resultOf<RangeSeries>(await this.get("api/v1/query_range", { query, ...window }, signal), "matrix");
  }

  /** The label sets of the series that match and had samples between the two moments. */
  async series(match: string, fromS: number, toS: number, signal: AbortSignal): Promise<Labels[]> {
    const parameters = { "match[]": match, start: String(fromS), end: String(toS) };
    return listOf<Labels>(await this.get("api/v1/series", parameters, signal), "a list of series");
  }

  /** The active targets of one job, or all of them. */
  async targets(job: string | null, signal: AbortSignal): Promise<Target[]> {
    const parameters = { state: "active", ...(job === null ? {} : { scrapePool: job }) };
    const data = await this.get("api/v1/targets", parameters, signal);
    return listOf<Target>((data as { activeTargets?: unknown } | null)?.activeTargets, "a list of targets");
  }

  /** Whether the server is up at all: resolves, or raises ApiError. */
  async healthy(signal: AbortSignal): Promise<void> {
    const response = await this.fetch("-/healthy", {}, signal);
    if (!response.ok) throw unreachable(`status ${response.status}`);
  }

  private async get(path: string, parameters: Parameters, signal: AbortSignal): Promise<unknown> {
    const response = await this.fetch(path, parameters, signal);
    if (PROXY_STATUSES.has(response.status) && !isJson(response)) throw unreachable(`status ${response.status}`);
    if (response.status === 401 || response.status === 403) {
      throw new ApiError("unauthorized", `The server refused access (status ${response.status}).`, "Log in again.");
    }
    return dataOf(response, await bodyOf(response, path, signal));
  }

  private async fetch(path: string, parameters: Parameters, signal: AbortSignal): Promise<Response> {
    const url = new URL(path, this.base);
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const response = await fetch(url, { signal: AbortSignal.any([signal, timeout]), cache: "no-store" });
      this.clockSkewMs = skewOf(response);
      return response;
    } catch (error) {
      throw translated(error, signal);
    }
  }
}

/** A sample's value; text that is no number gives NaN. */
export function parseSampleValue(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  if (text === "-Inf") return Number.NEGATIVE_INFINITY;
  return text === "" ? Number.NaN : Number(text);
}

/** How far the server's clock is ahead, in ms. Its Date header has whole seconds: less is no skew. */
function skewOf(response: Response): number {
  const skewMs = Date.parse(response.headers.get("Date") ?? "") - Date.now();
  return Math.abs(skewMs) > 2000 ? skewMs : 0;
}

async function bodyOf(response: Response, path: string, signal: AbortSignal): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) throw unintelligible(`${path} gave status ${response.status} and no JSON`);
    throw translated(error, signal);
  }
}

/** The `data` of the envelope `{status, data}` or `{status: "error", errorType, error}`. */
function dataOf(response: Response, body: unknown): unknown {
  const envelope = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  if (envelope["status"] === "success") return envelope["data"];
  if (envelope["status"] !== "error") throw unintelligible(`status ${response.status} without Prometheus's envelope`);
  const message = String(envelope["error"]);
  if (envelope["errorType"] === "timeout") throw new ApiError("slow", message, "Choose a shorter range.");
  throw new ApiError("rejected", message, "A shorter range may help; the server's log says more.");
}

function resultOf<Series>(data: unknown, type: string): Series[] {
  const { resultType, result } = (data ?? {}) as { resultType?: unknown; result?: unknown };
  if (resultType !== type) throw unintelligible(`a ${String(resultType)} where a ${type} was asked for`);
  return listOf<Series>(result, `the result of a ${type}`);
}

function listOf<Item>(value: unknown, what: string): Item[] {
  if (!Array.isArray(value)) throw unintelligible(`${what} is missing`);
  return value as Item[];
}

function isJson(response: Response): boolean {
  return response.headers.get("Content-Type")?.startsWith("application/json") ?? false;
}

function unintelligible(what: string): ApiError {
  const advice = "Reload the page; it may be of another version than the server.";
  return new ApiError("unintelligible", `The server's answer makes no sense: ${what}.`, advice);
}

/** fetch() reports every network failure as a TypeError; an abort of ours goes through as it is. */
function translated(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof DOMException && error.name === "TimeoutError") {
    const message = `No answer within ${TIMEOUT_MS / 1000} s.`;
    return new ApiError("slow", message, "Choose a shorter range, or look at the server's load.");
  }
  if (error instanceof TypeError) return unreachable("connection failed");
  return error;
}
