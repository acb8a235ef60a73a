// Which servers there are: those that told their name in node_uname_info, and scraped ones that never did.
import type { InstantSeries, Labels, PrometheusApi } from "../../api/prometheus.ts";
import type { Span } from "../../time/range.ts";
import type { ServerKey } from "./state.ts";

export interface Server extends ServerKey {
  /** The host's own name, or its address where it never told. */
  readonly name: string;
  /** "Linux 6.12.1 · x86_64", or nothing. */
  readonly system: string;
  /** Whether the last scrape succeeded; null: nobody scrapes it now. */
  readonly up: boolean | null;
}

/** The usual job of host exporters, for targets that were never reached. */
const USUAL_JOB = "node";

/** The servers seen in a span of time or being scraped now, by name. */
export async function findServers(api: PrometheusApi, span: Span, signal: AbortSignal): Promise<Server[]> {
  const [past, current, up] = await Promise.all([
    api.series("node_uname_info", span.fromS, span.toS, signal),
    api.instant("node_uname_info", span.toS, signal),
    api.instant("up", span.toS, signal),
  ]);
  return mergeServers(past, current.map(({ metric }) => metric), up);
}

/** Later sources know better: a host that got a new kernel has two series in the past and one now. */
export function mergeServers(past: readonly Labels[], current: readonly Labels[], up: readonly InstantSeries[]): Server[] {
  const servers = new Map<string, Server>();
  for (const labels of [...past, ...current]) {
    const key = keyOf(labels);
    servers.set(textOf(key), { ...key, name: labels["nodename"] || key.instance, system: systemOf(labels), up: null });
  }
  const jobs = new Set([USUAL_JOB, ...[...servers.values()].map(({ job }) => job)]);
  for (const { metric, value } of up) {
    const key = keyOf(metric);
    if (!jobs.has(key.job)) continue;
    const known = servers.get(textOf(key)) ?? { ...key, name: key.instance, system: "" };
    servers.set(textOf(key), { ...known, up: Number(value[1]) === 1 });
  }
  const order = new Intl.Collator("en", { numeric: true });
  return [...servers.values()].sort((a, b) => order.compare(a.name, b.name) || order.compare(a.instance, b.instance));
}

export function isSame(a: ServerKey | null, b: ServerKey | null): boolean {
  return a?.job === b?.job && a?.instance === b?.instance;
}

function keyOf(labels: Labels): ServerKey {
  return { job: labels["job"] ?? "", instance: labels["instance"] ?? "" };
}

function textOf(key: ServerKey): string {
  return JSON.stringify([key.job, key.instance]);
}

function systemOf(labels: Labels): string {
  const kernel = [labels["sysname"], labels["release"]].filter(Boolean).join(" ");
  return [kernel, labels["machine"]].filter(Boolean).join(" · ");
}
