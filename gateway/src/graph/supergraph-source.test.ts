import { createLogger, metrics } from "@continuo/process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSchema } from "graphql";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Graph } from "./graph.ts";
import { openSupergraph, type SupergraphSource } from "./supergraph-source.ts";

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");
const unused = (): never => {
  throw new Error("nobody asks here");
};

/** A graph for each text but those that begin with "bad". */
function build(supergraphSdl: string): Graph {
  if (supergraphSdl.startsWith("bad")) throw new Error("it is bad");
  return {
    supergraphSdl,
    hash: hashOf(supergraphSdl),
    schema: buildSchema("type Query { a: Int }"),
    access: { assert: unused },
    costs: { of: unused },
    sources: { cursors: new Map(), relays: new Map(), streams: new Map() },
    answer: unused,
    planSubscription: unused,
    prepare: unused,
    known: () => [],
  };
}

let directory: string;
let file: string;
let copy: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "supergraph-"));
  [file, copy] = [join(directory, "supergraph.graphql"), join(directory, "last-good")];
  return () => rmSync(directory, { recursive: true });
});

const logger = createLogger({ name: "test", level: "silent" });

/** Looks at the file when `look` is called, which resolves when that is over. */
async function open(): Promise<SupergraphSource & { look(times?: number): Promise<void> }> {
  let next = Promise.withResolvers<void>();
  let idle = Promise.withResolvers<void>();
  const supergraph = await openSupergraph({
    file,
    lastGoodFile: copy,
    watch: true,
    build,
    documents: [],
    logger,
    async pause(signal) {
      idle.resolve();
      signal.addEventListener("abort", () => next.resolve());
      await next.promise;
      next = Promise.withResolvers();
    },
  });
  return {
    ...supergraph,
    async look(times = 2) {
      for (let looked = 0; looked < times; looked += 1) {
        await idle.promise;
        idle = Promise.withResolvers();
        next.resolve();
        await idle.promise;
      }
    },
  };
}

describe("a supergraph from a file", () => {
  let supergraph: Awaited<ReturnType<typeof open>>;
  beforeEach(async () => {
    writeFileSync(file, "one");
    supergraph = await open();
  });
  afterEach(() => supergraph[Symbol.asyncDispose]());

  it("is replaced when the file is another, and kept", async () => {
    expect(supergraph.status()).toEqual({ hash: hashOf("one"), from: "FILE" });
    expect(readFileSync(copy, "utf8")).toBe("one");
    writeFileSync(file, "two");
    await supergraph.look();
    expect(supergraph.status()).toEqual({ hash: hashOf("two"), from: "FILE" });
    expect(supergraph.graph.current().supergraphSdl).toBe("two");
    expect(readFileSync(copy, "utf8")).toBe("two");
  });

  it("is the same graph while the file is the same", async () => {
    const { graph } = supergraph;
    const first = graph.current();
    writeFileSync(file, "one");
    await supergraph.look(3);
    expect(graph.current()).toBe(first);
  });

  it("is not that of a file that is still being written", async () => {
    writeFileSync(file, "tw");
    await supergraph.look(1);
    writeFileSync(file, "two");
    await supergraph.look(1);
    expect(supergraph.status().hash).toBe(hashOf("one"));
    await supergraph.look(1);
    expect(supergraph.status().hash).toBe(hashOf("two"));
  });

  it.each([
    ["bad", (): void => writeFileSync(file, "bad"), hashOf("bad")],
    ["gone", (): void => rmSync(file), "UNREADABLE"],
  ])("stays when the file is %s, which is said once, until it is good again", async (_what, spoil, refused) => {
    const said = vi.spyOn(logger, "error");
    const before = await loadsRefused();
    spoil();
    await supergraph.look(4);
    expect(supergraph.status()).toEqual({ hash: hashOf("one"), from: "FILE", refused });
    expect(supergraph.graph.current().supergraphSdl).toBe("one");
    expect(readFileSync(copy, "utf8")).toBe("one");
    expect(said.mock.calls).toEqual([
      [
        expect.objectContaining({ code: "E_SUPERGRAPH_REFUSED", refused, supergraph: hashOf("one") }),
        expect.any(String),
      ],
    ]);
    expect(await loadsRefused()).toBe(before + 1);
    writeFileSync(file, "one");
    await supergraph.look();
    expect(supergraph.status()).toEqual({ hash: hashOf("one"), from: "FILE" });
  });
});

describe("a start", () => {
  it("with a bad file begins with the copy, says so, and takes the file when it is good", async () => {
    const said = vi.spyOn(logger, "error");
    writeFileSync(file, "bad");
    writeFileSync(copy, "one");
    await using supergraph = await open();
    expect(supergraph.status()).toEqual({ hash: hashOf("one"), from: "LAST_GOOD", refused: hashOf("bad") });
    expect(said).toHaveBeenCalledWith(expect.objectContaining({ code: "E_SUPERGRAPH_REFUSED" }), expect.any(String));
    writeFileSync(file, "two");
    await supergraph.look();
    expect(supergraph.status()).toEqual({ hash: hashOf("two"), from: "FILE" });
  });

  it.each([
    ["there is no copy", () => undefined],
    ["the copy is bad too", () => writeFileSync(copy, "bad copy")],
  ])("with a bad file fails when %s", async (_what, spoil) => {
    writeFileSync(file, "bad");
    spoil();
    await expect(open()).rejects.toThrow("it is bad");
  });

  it("without a file fails, and names it", async () => {
    await expect(open()).rejects.toMatchObject({ code: "E_SUPERGRAPH", message: expect.stringContaining(file) });
  });

  it("where no copy can be kept serves all the same, with a warning", async () => {
    const warned = vi.spyOn(logger, "warn");
    copy = join(directory, "no-such-folder/last-good");
    writeFileSync(file, "one");
    await using supergraph = await open();
    expect(supergraph.status().hash).toBe(hashOf("one"));
    expect(warned).toHaveBeenCalledWith(expect.objectContaining({ code: "E_SUPERGRAPH_NOT_KEPT" }), expect.any(String));
    expect(existsSync(copy)).toBe(false);
    mkdirSync(join(directory, "no-such-folder"));
    writeFileSync(file, "two");
    await supergraph.look();
    expect(readFileSync(copy, "utf8")).toBe("two");
  });
});

async function loadsRefused(): Promise<number> {
  return Number(/continuo_supergraph_loads_total\{outcome="REFUSED"\} (\d+)/.exec(await metrics.text())?.[1] ?? 0);
}
