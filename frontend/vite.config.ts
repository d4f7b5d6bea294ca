import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds the API: a system that runs.
const backend = process.env.SATELLITE_URL ?? "http://127.0.0.1:8000";

export default defineConfig({
  // Relative, so that the page works under every path of a proxy.
  base: "./",
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    outDir: "../satellite/page",
    emptyOutDir: true,
    // Nothing is inlined: the page runs under `script-src 'self'`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/v2", "/docs", "/openapi.json", "/health", "/static-offline-docs"].map((path) => [
        path,
        { target: backend, ws: path === "/api", changeOrigin: true },
      ]),
    ),
  },
  test: {
    environment: "jsdom",
    setupFiles: ["src/test/setup.ts"],
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    testTimeout: 20_000,
  },
});
