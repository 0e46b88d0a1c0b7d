// Bundles the page into the Python package. `node build.mjs FOLDER`; FOLDER is made anew.
//
// Rule 1: what comes out needs nothing from anywhere else at run time, and its names are fixed, since the server sends
//         them with "no-cache" and the browser asks whether they have changed.

import { build } from "esbuild";
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { page: join(here, "src/main.tsx") },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "eof",
  logLevel: "warning",
});
for (const name of ["index.html", "icon.svg"]) await cp(join(here, name), join(out, name));
