// What the address says about the page of a server.
import { DEFAULT_RANGE, readRange, type TimeRange, writeRange } from "../../time/range.ts";

/** The labels that tell one server from another. */
export interface ServerKey {
  readonly job: string;
  readonly instance: string;
}

export interface ServerPageState {
  /** null: whichever server comes first. */
  readonly server: ServerKey | null;
  readonly range: TimeRange;
  /** Seconds between refreshes; 0: never. */
  readonly refreshS: number;
}

export const REFRESH_CHOICES_S: readonly number[] = [0, 5, 10, 30, 60, 300];
const DEFAULT_REFRESH_S = 5;

export const DEFAULT_STATE: ServerPageState = { server: null, range: DEFAULT_RANGE, refreshS: DEFAULT_REFRESH_S };

export function readState(params: URLSearchParams): ServerPageState {
  const [job, instance] = [params.get("job"), params.get("instance")];
  const refresh = params.get("refresh");
  const refreshS = refresh === "off" ? 0 : Number(refresh?.replace(/s$/, "") ?? DEFAULT_REFRESH_S);
  return {
    server: job !== null && instance !== null ? { job, instance } : null,
    range: readRange(params),
    refreshS: REFRESH_CHOICES_S.includes(refreshS) ? refreshS : DEFAULT_REFRESH_S,
  };
}

export function writeState(state: ServerPageState): URLSearchParams {
  const params = new URLSearchParams();
  if (state.server !== null) {
    params.set("instance", state.server.instance);
    params.set("job", state.server.job);
  }
  writeRange(state.range, params);
  if (state.refreshS !== DEFAULT_REFRESH_S) params.set("refresh", state.refreshS === 0 ? "off" : `${state.refreshS}s`);
  return params;
}
