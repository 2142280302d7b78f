/** The package in a browser: what its bundles contain and need, and that they behave as in Node. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { applyOp, KINDS, type Kind, type KindName } from "./index.ts";
import { payloads } from "./payload.fixture.ts";
import { text } from "./text.ts";

const ENTRIES = ["index", "protocol", "text"] as const;
type Entry = (typeof ENTRIES)[number];

interface Bundle {
  readonly code: string;
  /** The packages in it. */
  readonly packages: readonly string[];
  /** What it would import at run time. */
  readonly imports: readonly string[];
}

const bundles = new Map<Entry, Bundle>();
beforeAll(async () => {
  for (const entry of ENTRIES) bundles.set(entry, await bundle(entry));
});

describe("the bundle", () => {
  it.each([
    ["index", ["fractional-indexing"], 8],
    ["protocol", ["fractional-indexing", "zod"], 20],
    ["text", ["lib0", "yjs"], 40],
  ] as const)("of %s holds %j and has at most %d KiB", (entry, packages, limit) => {
    const { code, ...made } = bundled(entry);
    expect(made).toEqual({ packages, imports: [] });
    expect(gzipSync(code).length).toBeLessThan(limit * 1024);
  });

  it("does in a browser what it does here, kind by kind", () => {
    const there = load("index");
    for (const name of Object.keys(payloads)) {
      if (!isKind(name)) continue;
      const seen = [KINDS[name], there.KINDS[name]].map((kind) => afterOps(name, kind, there.applyOp));
      expect(seen[1]).toEqual(seen[0]);
    }
  });

  it("of the text does so too", () => {
    const there = load("text");
    expect(afterOps("TEXT", there.text, applyOp)).toEqual(afterOps("TEXT", text, applyOp));
  });
});

it("the source needs nothing that Node has and a browser of 2019 has not", async () => {
  const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const sources = ENTRIES.map((entry) => here(`./${entry}.ts`));
  const options = "--ignoreConfig --noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler";
  const environment = ["--target", "es2019", "--lib", "es2019,dom", "--types", "", "--allowImportingTsExtensions"];
  const tsc = here("../../../node_modules/.bin/tsc");
  const { stdout } = await promisify(execFile)(tsc, [...options.split(" "), ...environment, ...sources]);
  expect(stdout).toBe("");
});

/** The values a unit shows along a few ops of a kind. */
function afterOps(name: KindName, kind: Kind, apply: typeof applyOp): unknown {
  const shown: unknown[] = [];
  let state = kind.initial;
  for (let step = 1; step <= 60; step += 1) {
    const clientId = `a0000000-0000-4000-8000-00000000000${step % 3}`;
    const payload = Reflect.apply(payloads[name], undefined, [step * 7919, state, step % 3]);
    const op = { payload, stamp: { ms: step, counter: 0 }, seen: null, baseRev: step - (step % 4) };
    const arrival = { clientId, deviceId: clientId, clientNow: 1_000, serverNow: 1_000, rev: step };
    const { outcome, stamp, state: next } = apply(kind, state, op, arrival);
    state = next;
    shown.push(outcome, stamp, kind.view(state));
  }
  return JSON.parse(JSON.stringify([state, ...shown]));
}

function isKind(name: string): name is keyof typeof KINDS {
  return name in KINDS;
}

function bundled(entry: Entry): Bundle {
  const made = bundles.get(entry);
  if (made === undefined) throw new Error(`${entry} was not bundled`);
  return made;
}

/** Runs a bundle with nothing but the language and what every browser provides. */
function load(entry: Entry) {
  return runInNewContext(`${bundled(entry).code};merge`, { TextEncoder, btoa, atob, crypto });
}

/** By the bundler that comes with vitest. */
async function bundle(entry: Entry): Promise<Bundle> {
  const vitest = createRequire(import.meta.url).resolve("vitest/node");
  const vite = pathToFileURL(createRequire(vitest).resolve("vite")).href;
  const { build }: { build: (options: object) => Promise<unknown> } = await import(vite);
  const Output = z.array(
    z.object({
      output: z.array(
        z.object({ code: z.string(), imports: z.array(z.string()), modules: z.record(z.string(), z.unknown()) }),
      ),
    }),
  );
  const [made] = Output.parse(
    await build({
      configFile: false,
      logLevel: "error",
      root: import.meta.dirname,
      build: {
        write: false,
        minify: true,
        target: "es2019",
        lib: { entry: `${entry}.ts`, name: "merge", formats: ["iife"] },
      },
    }),
  );
  const [chunk] = made?.output ?? [];
  if (chunk === undefined) throw new Error("nothing was built");
  const modules = Object.keys(chunk.modules);
  const packages = modules.flatMap((path) => /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []);
  return { code: chunk.code, packages: [...new Set(packages)].sort(), imports: chunk.imports };
}
