// The numbers of a server at one moment: what its tiles show.
import type { InstantSeries, PrometheusApi } from "../../api/prometheus.ts";
import { parseSampleValue } from "../../api/prometheus.ts";
import { formatClock, formatDay } from "../../format/clock.ts";
import { formatDuration, formatPartOf, formatValue, NO_VALUE } from "../../format/units.ts";
import { VIRTUAL_DEVICES } from "./panels.ts";

export interface Facts {
  readonly cpuPercent: number | null;
  readonly cpuCount: number | null;
  readonly memoryTotalBytes: number | null;
  readonly memoryAvailableBytes: number | null;
  readonly disk: { readonly mountpoint: string; readonly sizeBytes: number; readonly availableBytes: number } | null;
  readonly load1: number | null;
  readonly receivedBytesPerS: number | null;
  readonly sentBytesPerS: number | null;
  readonly bootS: number | null;
}

export interface TileText {
  readonly name: string;
  readonly value: string;
  readonly detail: string;
  /** 0 to 1: how full; null where there is no limit. */
  readonly share: number | null;
}

const GAUGES = "node_(load1|boot_time_seconds|memory_(MemTotal|MemAvailable)_bytes|filesystem_(size|avail)_bytes)";

export async function loadFacts(
  api: PrometheusApi, server: string, windowS: number, atS: number, signal: AbortSignal,
): Promise<Facts> {
  const ask = (query: string) => api.instant(query, atS, signal);
  const window = `${windowS}s`;
  const devices = `${server},device!~"${VIRTUAL_DEVICES}"`;
  const [gauges, cpuPercent, cpuCount, received, sent] = await Promise.all([
    ask(`{__name__=~"${GAUGES}",${server}}`),
    ask(`100 * (1 - avg(rate(node_cpu_seconds_total{${server},mode="idle"}[${window}])))`),
    ask(`count(node_cpu_seconds_total{${server},mode="idle"})`),
    ask(`sum(rate(node_network_receive_bytes_total{${devices}}[${window}]))`),
    ask(`sum(rate(node_network_transmit_bytes_total{${devices}}[${window}]))`),
  ]);
  return {
    ...readGauges(gauges),
    cpuPercent: valueOf(cpuPercent[0]),
    cpuCount: valueOf(cpuCount[0]),
    receivedBytesPerS: valueOf(received[0]),
    sentBytesPerS: valueOf(sent[0]),
  };
}

type Gauges = Omit<Facts, "cpuPercent" | "cpuCount" | "receivedBytesPerS" | "sentBytesPerS">;

export function readGauges(gauges: readonly InstantSeries[]): Gauges {
  const named = (name: string) => gauges.filter(({ metric }) => metric["__name__"] === name);
  const only = (name: string) => valueOf(named(name)[0]);
  const available = new Map(named("node_filesystem_avail_bytes").map((one) => [one.metric["mountpoint"], valueOf(one)]));
  const disks = named("node_filesystem_size_bytes").flatMap((series) => {
    const [mountpoint, sizeBytes] = [series.metric["mountpoint"] ?? "", valueOf(series)];
    const availableBytes = available.get(mountpoint) ?? null;
    return sizeBytes === null || availableBytes === null || sizeBytes <= 0 ? [] : [{ mountpoint, sizeBytes, availableBytes }];
  });
  const largest = disks.toSorted((a, b) => b.sizeBytes - a.sizeBytes)[0];
  return {
    memoryTotalBytes: only("node_memory_MemTotal_bytes"),
    memoryAvailableBytes: only("node_memory_MemAvailable_bytes"),
    disk: disks.find(({ mountpoint }) => mountpoint === "/") ?? largest ?? null,
    load1: only("node_load1"),
    bootS: only("node_boot_time_seconds"),
  };
}

/** `windowS` is what rates are averages of. */
export function tilesOf(facts: Facts, atS: number, windowS: number): TileText[] {
  const { cpuPercent, cpuCount, disk, load1, bootS } = facts;
  const average = `average of ${formatDuration(windowS)}`;
  return [
    {
      name: "CPU",
      value: formatValue(cpuPercent, "percent"),
      detail: cpuCount === null ? "" : `${cpuCount} ${cpuCount === 1 ? "core" : "cores"}`,
      share: cpuPercent === null ? null : cpuPercent / 100,
    },
    memoryTile(facts),
    {
      name: disk === null ? "Disk" : `Disk ${disk.mountpoint}`,
      value: formatValue(disk && 100 * (1 - disk.availableBytes / disk.sizeBytes), "percent"),
      detail: disk === null ? "" : `${formatPartOf(disk.availableBytes, disk.sizeBytes)} left`,
      share: disk && 1 - disk.availableBytes / disk.sizeBytes,
    },
    {
      name: "Load, 1 min",
      value: formatValue(load1, "load"),
      detail: load1 === null || !cpuCount ? "" : `${formatValue(load1 / cpuCount, "load")} per core`,
      share: null,
    },
    { name: "Network in", value: formatValue(facts.receivedBytesPerS, "bytes-per-second"), detail: average, share: null },
    { name: "Network out", value: formatValue(facts.sentBytesPerS, "bytes-per-second"), detail: average, share: null },
    {
      name: "Uptime",
      value: bootS === null ? NO_VALUE : formatDuration(atS - bootS),
      detail: bootS === null ? "" : `since ${formatDay(bootS)}, ${formatClock(bootS, false)}`,
      share: null,
    },
  ];
}

function memoryTile({ memoryTotalBytes: total, memoryAvailableBytes: available }: Facts): TileText {
  if (total === null || available === null || total <= 0) return { name: "Memory", value: NO_VALUE, detail: "", share: null };
  const share = 1 - available / total;
  const detail = `${formatPartOf(available, total)} left`;
  return { name: "Memory", value: formatValue(100 * share, "percent"), detail, share };
}

function valueOf(series: InstantSeries | undefined): number | null {
  const value = series === undefined ? Number.NaN : parseSampleValue(series.value[1]);
  return Number.isFinite(value) ? value : null;
}
