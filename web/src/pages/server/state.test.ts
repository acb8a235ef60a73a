import assert from "node:assert/strict";
import { test } from "node:test";

import { DEFAULT_STATE, readState, type ServerPageState, writeState } from "./state.ts";

test("every state survives the address bar, hostile names included", () => {
  const states: ServerPageState[] = [
    DEFAULT_STATE,
    { server: { job: "node", instance: "a:9100" }, range: { kind: "last", lengthS: 300 }, refreshS: 0 },
    { server: { job: 'n"&=#?', instance: "<img src=x onerror=alert(1)>" }, range: { kind: "fixed", fromS: 1000, toS: 2000 }, refreshS: 30 },
  ];
  for (const state of states) assert.deepEqual(readState(new URLSearchParams(writeState(state).toString())), state);
});

test("what makes no sense in the address is the default", () => {
  assert.deepEqual(readState(new URLSearchParams("refresh=-1s&instance=only")), DEFAULT_STATE);
  assert.deepEqual(readState(new URLSearchParams("refresh=7s&range=never")), DEFAULT_STATE);
});
