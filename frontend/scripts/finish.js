// After `vite build`: compresses what was built, prints the sizes, and fails where the first load is too large.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const FIRST_LOAD_LIMIT_BYTES = 350_000;
const COMPRESSIBLE = /\.(js|css|html|svg|json)$/;
// Smaller ones fit one packet as they are.
const MIN_BYTES = 1024;

const folder = fileURLToPath(new URL("../../satellite/page/", import.meta.url));
const manifestFile = join(folder, ".vite", "manifest.json");
/** @type {Record<string, {file: string, isEntry?: boolean, imports?: string[], css?: string[]}>} */
const manifest = JSON.parse(readFileSync(manifestFile, "utf8"));
rmSync(join(folder, ".vite"), { recursive: true });

/** @type {Map<string, number>} */
const gzipped = new Map();
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  const file = join(entry.parentPath, entry.name);
  if (!entry.isFile() || !COMPRESSIBLE.test(entry.name)) continue;
  const content = readFileSync(file);
  const gzip = gzipSync(content, { level: 9 });
  gzipped.set(relative(folder, file), gzip.length);
  if (content.length < MIN_BYTES) continue;
  writeFileSync(`${file}.gz`, gzip);
  writeFileSync(
    `${file}.br`,
    brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }),
  );
}

/** What a browser must have before it shows a route: the entry with all that it imports, and its styles. */
const first = new Set(["index.html", "scheme.js"]);
/** @param {string} key */
function need(key) {
  const chunk = manifest[key];
  if (!chunk || first.has(chunk.file)) return;
  first.add(chunk.file);
  for (const css of chunk.css ?? []) first.add(css);
  for (const imported of chunk.imports ?? []) need(imported);
}
for (const [key, chunk] of Object.entries(manifest)) if (chunk.isEntry) need(key);

let total = 0;
for (const [file, bytes] of [...gzipped].sort((a, b) => b[1] - a[1])) {
  if (first.has(file)) total += bytes;
  if (bytes < 2000 && !first.has(file)) continue;
  const raw = statSync(join(folder, file)).size;
  const kind = first.has(file) ? "first load" : "lazy";
  console.log(
    `${(bytes / 1000).toFixed(1).padStart(8)} kB gzip ${(raw / 1000).toFixed(1).padStart(8)} kB  ${kind.padEnd(10)}  ${file}`,
  );
}
console.log(
  `${(total / 1000).toFixed(1).padStart(8)} kB gzip in the first load, of ${FIRST_LOAD_LIMIT_BYTES / 1000}`,
);
if (total > FIRST_LOAD_LIMIT_BYTES) {
  console.error("error: the first load is too large: load what not every route needs lazily.");
  process.exit(1);
}
