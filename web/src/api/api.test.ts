import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";

import { ApiError } from "./errors.ts";
import { parseSampleValue, PrometheusApi } from "./prometheus.ts";
import { matchers } from "./selector.ts";

/** An API client at a live server on loopback that answers every request as told, and the addresses it was asked. */
async function serving(context: TestContext, answer: (response: ServerResponse) => void) {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { api: new PrometheusApi(`http://127.0.0.1:${port}/below/`), asked };
}

function json(status: number, body: unknown): (response: ServerResponse) => void {
  return (response) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

const forever = new AbortController().signal;
const kindIs = (kind: string) => (error: unknown) => error instanceof ApiError && error.kind === kind;

test("label values are quoted in selectors", () => {
  assert.equal(matchers({ job: "node", instance: 'a"b\\c\nd' }), 'job="node",instance="a\\"b\\\\c\\nd"');
});

test("sample values include Prometheus's infinities", () => {
  assert.equal(parseSampleValue("+Inf"), Number.POSITIVE_INFINITY);
  assert.equal(parseSampleValue("-Inf"), Number.NEGATIVE_INFINITY);
  assert.equal(parseSampleValue("1e3"), 1000);
  assert.ok(Number.isNaN(parseSampleValue("NaN")));
});

test("a range query goes below the page's own path and gives the matrix", async (context) => {
  const result = [{ metric: { mode: "user" }, values: [[10, "1"]] }];
  const { api, asked } = await serving(context, json(200, { status: "success", data: { resultType: "matrix", result } }));
  assert.deepEqual(await api.range("up", { startS: 10, endS: 20, stepS: 5 }, forever), result);
  assert.deepEqual(asked, ["/below/api/v1/query_range?query=up&start=10&end=20&step=5"]);
});

test("what the server says is wrong is passed on in its own words", async (context) => {
  const { api } = await serving(context, json(400, { status: "error", errorType: "bad_data", error: "parse error at 3" }));
  await assert.rejects(api.instant("up{", 0, forever), (error: unknown) => {
    return kindIs("rejected")(error) && (error as ApiError).message === "parse error at 3";
  });
});

test("failures are told apart", async (context) => {
  const cases: [(response: ServerResponse) => void, string][] = [
    [(response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad gateway</h1>"), "unreachable"],
    [(response) => response.destroy(), "unreachable"],
    [json(503, { status: "error", errorType: "timeout", error: "query timed out" }), "slow"],
    [json(401, {}), "unauthorized"],
    [(response) => response.end("<!doctype html>"), "unintelligible"],
    [json(200, { status: "success", data: { resultType: "scalar", result: [0, "1"] } }), "unintelligible"],
    [json(200, null), "unintelligible"],
  ];
  for (const [answer, kind] of cases) {
    const { api } = await serving(context, answer);
    await assert.rejects(api.instant("up", 0, forever), kindIs(kind), kind);
  }
});

test("an abort is no failure of the server", async (context) => {
  const { api } = await serving(context, () => undefined);
  const controller = new AbortController();
  const answer = api.instant("up", 0, controller.signal);
  controller.abort();
  await assert.rejects(answer, { name: "AbortError" });
});
