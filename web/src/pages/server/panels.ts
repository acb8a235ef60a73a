// The charts of a server: their queries over node_exporter's metrics, and the lines they draw.
import type { PanelText } from "../../chart/panel.ts";
import { busiest, type Column, combine, type Drawing, type Hue, hueAt, type Line, NEUTRAL_HUE, type Values } from "../../chart/lines.ts";
import type { PlotLook } from "../../chart/plot.ts";

type Found<Name extends string> = Readonly<Record<Name, readonly Column[]>>;

export interface PanelSpec<Name extends string = string> {
  readonly id: string;
  readonly text: PanelText;
  readonly look: PlotLook;
  /** PromQL by name; `server` is a list of matchers, `window` the range of rates. */
  queries(server: string, window: string): Readonly<Record<Name, string>>;
  draw(found: Found<Name>): Drawing;
}

/** Devices that only repeat what others carry, or carry nothing outside the host. */
export const VIRTUAL_DEVICES = "lo|veth.+|docker.+|br-.+|cni.+|flannel.+|cali.+|virbr.+|ifb.+|tap.+";

/** File systems that hold no files of their own on a disk. */
const VIRTUAL_FILESYSTEMS = "tmpfs|ramfs|devtmpfs|squashfs|iso9660|nsfs|efivarfs|autofs|fuse.lxcfs";

const CPU_MODES: readonly (readonly [mode: string, hue: Hue])[] = [
  ["user", 1], ["system", 2], ["nice", 3], ["iowait", 4], ["irq", 5], ["softirq", 7], ["steal", 6],
];

/** Shown even where they are zero all the time; the others would only fill the legend. */
const USUAL_CPU_MODES: ReadonlySet<string> = new Set(["user", "system", "iowait"]);

const cpu: PanelSpec<"modes"> = {
  id: "cpu",
  text: { title: "CPU by mode", description: "Share of all processors' time by mode; what is missing to 100% is idle." },
  look: { layout: "stacked", unit: "percent", ceiling: 100 },
  queries: (server, window) => ({
    modes: `100 * avg by (mode) (rate(node_cpu_seconds_total{${server},mode!="idle"}[${window}]))`,
  }),
  draw: ({ modes }) => {
    const byMode = new Map(modes.map((column) => [column.labels["mode"], column.values]));
    const lines = CPU_MODES.flatMap(([mode, hue]) => {
      const values = byMode.get(mode);
      const expected = USUAL_CPU_MODES.has(mode) || values?.some((value) => value !== null && value > 0);
      return values === undefined || !expected ? [] : [line(mode, hue, values)];
    });
    return { lines, remark: "" };
  },
};

const memory: PanelSpec<"memory"> = {
  id: "memory",
  text: { title: "Memory", description: "Used by processes and the kernel, by buffers and the page cache, and free." },
  look: { layout: "stacked", unit: "bytes", ceiling: null },
  queries: (server) => ({
    memory: `{__name__=~"node_memory_(MemTotal|MemFree|Buffers|Cached|SReclaimable)_bytes",${server}}`,
  }),
  draw: ({ memory }) => {
    const byName = new Map(memory.map((column) => [column.labels["__name__"]?.split("_")[2], column.values]));
    const [total, free] = [byName.get("MemTotal"), byName.get("MemFree")];
    if (total === undefined || free === undefined) return { lines: [], remark: "" };
    const caches = ["Buffers", "Cached", "SReclaimable"].map((name) => byName.get(name)).filter((values) => values !== undefined);
    const none = combine([total], () => 0);
    const cached = combine([none, ...caches], (...parts) => sum(parts));
    const used = combine([total, free, cached], (all, ...rest) => Math.max(0, all - sum(rest)));
    return { lines: [line("used", 1, used), line("buffers and cache", 3, cached), line("free", NEUTRAL_HUE, free)], remark: "" };
  },
};

const filesystems: PanelSpec<"used"> = {
  id: "filesystems",
  text: { title: "Filesystem use", description: "Share of each file system that is not available, by mount point." },
  look: { layout: "lines", unit: "percent", ceiling: 100 },
  queries: (server) => {
    const mounted = `${server},fstype!~"${VIRTUAL_FILESYSTEMS}"`;
    const available = `node_filesystem_avail_bytes{${mounted}} / node_filesystem_size_bytes{${mounted}}`;
    return { used: `max by (mountpoint) (100 * (1 - ${available}))` };
  },
  draw: ({ used }) => {
    const entries = new Map(used.map((column) => [column.labels["mountpoint"] ?? "", [column.values]]));
    const { names, remark } = busiest(entries, "file system");
    return { lines: names.map((name, index) => line(name, hueAt(index), entries.get(name)?.[0] ?? [])), remark };
  },
};

const disks: PanelSpec<"read" | "write"> = {
  id: "disks",
  text: { title: "Disk I/O", description: "Bytes per second by device: read above zero, written below." },
  look: { layout: "lines", unit: "bytes-per-second", ceiling: null },
  queries: (server, window) => ({
    read: `sum by (device) (rate(node_disk_read_bytes_total{${server}}[${window}]))`,
    write: `sum by (device) (rate(node_disk_written_bytes_total{${server}}[${window}]))`,
  }),
  draw: ({ read, write }) => drawDevices(read, "read", write, "write"),
};

const network: PanelSpec<"received" | "sent"> = {
  id: "network",
  text: { title: "Network", description: "Bytes per second by device: received above zero, sent below." },
  look: { layout: "lines", unit: "bytes-per-second", ceiling: null },
  queries: (server, window) => ({
    received: `sum by (device) (rate(node_network_receive_bytes_total{${server},device!="lo"}[${window}]))`,
    sent: `sum by (device) (rate(node_network_transmit_bytes_total{${server},device!="lo"}[${window}]))`,
  }),
  draw: ({ received, sent }) => drawDevices(received, "in", sent, "out"),
};

const load: PanelSpec<"load"> = {
  id: "load",
  text: { title: "Load average", description: "Processes that run or want to, averaged over 1, 5 and 15 minutes." },
  look: { layout: "lines", unit: "load", ceiling: null },
  queries: (server) => ({ load: `{__name__=~"node_load(1|5|15)",${server}}` }),
  draw: ({ load }) => {
    const byName = new Map(load.map((column) => [column.labels["__name__"], column.values]));
    const lines = [1, 5, 15].flatMap((minutes, index) => {
      const values = byName.get(`node_load${minutes}`);
      return values === undefined ? [] : [line(`${minutes} min`, hueAt(index), values)];
    });
    return { lines, remark: "" };
  },
};

export const PANELS: readonly PanelSpec[] = [cpu, memory, filesystems, load, disks, network];

/** Two directions by device, the second one mirrored below zero. */
function drawDevices(above: readonly Column[], abovePart: Line["part"], below: readonly Column[], belowPart: Line["part"]): Drawing {
  const [upward, downward] = [byDevice(above), byDevice(below)];
  const devices = [...new Set([...upward.keys(), ...downward.keys()])];
  const { names, remark } = busiest(
    new Map(devices.map((device) => [device, [upward.get(device) ?? [], downward.get(device) ?? []]])), "device",
  );
  const lines = names.flatMap((device, index): Line[] => [
    { entry: device, part: abovePart, hue: hueAt(index), values: upward.get(device) ?? [], mirrored: false },
    { entry: device, part: belowPart, hue: hueAt(index), values: downward.get(device) ?? [], mirrored: true },
  ]);
  return { lines, remark };
}

function byDevice(columns: readonly Column[]): Map<string, Values> {
  return new Map(columns.map((column) => [column.labels["device"] ?? "", column.values]));
}

function line(entry: string, hue: Hue, values: Values): Line {
  return { entry, part: "", hue, values, mirrored: false };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
