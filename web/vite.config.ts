// Builds the page into the package that serves it. Relative addresses, so that it also works below a path of a
// reverse proxy; nothing inlined, so that it also works under a Content-Security-Policy of `default-src 'self'`.
import { defineConfig } from "vite";

const server = process.env["FLEETWATCH_URL"] ?? "http://127.0.0.1:9090";

export default defineConfig({
  base: "./",
  build: {
    outDir: "../server/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  // `npm run dev` serves the sources and hands every API request to a running server.
  server: { proxy: { "/api": server, "/-": server } },
});
