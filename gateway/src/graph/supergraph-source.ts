/**
 * Loads the graph from a file that is read again and again, and keeps a copy of the last good one. A bad file never
 * changes what is served; only the log, `/ready` and the metrics report it.
 */
import { createCounter, type Logger } from "@continuo/process";
import { readFile, rename, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { hashOf } from "./apollo-graph.ts";
import type { Graph, LiveGraph } from "./graph.ts";
import { createLiveGraph } from "./live-graph.ts";
import { SupergraphError } from "./supergraph.ts";

export interface SupergraphSource extends AsyncDisposable {
  readonly graph: LiveGraph;
  /**
   * For operators. `refused` is set while another supergraph serves than the file's: the hash of the refused file, or
   * UNREADABLE.
   */
  status(): { readonly hash: string; readonly from: "FILE" | "LAST_GOOD"; readonly refused?: string };
}

/** How often the file is read. */
export const LOOK_EVERY_MS = 2_000;

const countLoad = createCounter(
  "continuo_supergraph_loads_total",
  "Supergraphs that were looked at: TAKEN, REFUSED, or LAST_GOOD when a process began with the copy.",
  ["outcome"],
);

/**
 * Opens the source. `build` throws on a supergraph that cannot serve. Without `lastGoodFile` no copy is kept; `watch`
 * keeps reading the file. Throws the file's error if the copy cannot serve either.
 */
export async function openSupergraph(options: {
  file: string;
  lastGoodFile: string | undefined;
  watch: boolean;
  build: (supergraphSdl: string) => Graph;
  /** Client documents to prepare every graph for. */
  documents: readonly string[];
  logger: Logger;
  /** Waits between two reads of the file. */
  pause: (signal: AbortSignal) => Promise<void>;
}): Promise<SupergraphSource> {
  const { file, lastGoodFile, build, documents, logger, pause } = options;
  const closing = new AbortController();
  const { signal } = closing;
  let judged = await read(file);
  let refused: string | undefined;
  let from: "FILE" | "LAST_GOOD" = "FILE";
  const graph = await createLiveGraph(await first(), documents);
  const watching = options.watch ? watch() : undefined;

  async function first(): Promise<Graph> {
    try {
      const built = build(existing(judged));
      countLoad({ outcome: "TAKEN" });
      await keep(built.supergraphSdl);
      return built;
    } catch (cause) {
      const copy = await copied();
      if (!copy) throw cause;
      from = "LAST_GOOD";
      countLoad({ outcome: "LAST_GOOD" });
      refuse(cause, copy);
      return copy;
    }
  }

  function existing(text: string | undefined): string {
    if (text === undefined) throw new SupergraphError(`${file} cannot be read`);
    return text;
  }

  async function copied(): Promise<Graph | undefined> {
    const text = lastGoodFile && (await read(lastGoodFile));
    try {
      return text ? build(text) : undefined;
    } catch {
      return undefined;
    }
  }

  async function watch(): Promise<void> {
    let seen = judged;
    while (!signal.aborted) {
      await pause(signal);
      if (signal.aborted) return;
      const text = await read(file);
      // A file that is still being written will have changed by the next read.
      const isSettled = text === seen;
      seen = text;
      if (!isSettled || text === judged) continue;
      judged = text;
      await take(text);
    }
  }

  async function take(text: string | undefined): Promise<void> {
    try {
      const next = existing(text);
      if (hashOf(next) !== graph.current().hash) await graph.replace(build(next));
    } catch (cause) {
      return refuse(cause, graph.current());
    }
    refused = undefined;
    from = "FILE";
    countLoad({ outcome: "TAKEN" });
    const { hash, supergraphSdl } = graph.current();
    logger.info({ file, supergraph: hash }, "the supergraph of the file serves now");
    await keep(supergraphSdl);
  }

  function refuse(cause: unknown, serving: Graph): void {
    refused = judged === undefined ? "UNREADABLE" : hashOf(judged);
    countLoad({ outcome: "REFUSED" });
    logger.error(
      { code: "E_SUPERGRAPH_REFUSED", file, refused, supergraph: serving.hash, err: cause },
      "the supergraph's file is refused: the last good one serves",
    );
  }

  async function keep(supergraphSdl: string): Promise<void> {
    if (lastGoodFile === undefined || (await read(lastGoodFile)) === supergraphSdl) return;
    const written = `${lastGoodFile}.${process.pid}`;
    try {
      await writeFile(written, supergraphSdl, { flush: true });
      await rename(written, lastGoodFile);
    } catch (cause) {
      const what = "the last good supergraph cannot be kept: a start with a bad file will fail";
      logger.warn({ code: "E_SUPERGRAPH_NOT_KEPT", file: lastGoodFile, err: cause }, what);
    }
  }

  return {
    graph,
    status: () => ({ hash: graph.current().hash, from, ...(refused !== undefined && { refused }) }),
    async [Symbol.asyncDispose]() {
      closing.abort();
      await watching;
    },
  };
}

/** Waits for `ms` milliseconds, or until aborted. */
export function pauseOf(ms: number): (signal: AbortSignal) => Promise<void> {
  return (signal) => delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}

/** Undefined when it cannot be read. */
async function read(file: string): Promise<string | undefined> {
  return readFile(file, "utf8").catch(() => undefined);
}
