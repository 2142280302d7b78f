/** A change to a shared Yjs document: from setting it on one connection to the update event on another. */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import * as Y from "yjs";
import { z } from "zod";
import type { Driver } from "../load-protocol.ts";
import { inTurn } from "../people.ts";

const PATIENCE_MS = 10_000;
const Options = z.object({ url: z.string(), documents: z.number(), connectionsEach: z.number() });

interface Connection extends Disposable {
  readonly document: Y.Doc;
}

export async function openDriver(options: unknown): Promise<Driver> {
  const { url, documents, connectionsEach } = Options.parse(options);
  const connections = await inTurn(documents * connectionsEach, (index) =>
    connect(url, `settings-${index % documents}`),
  );
  let made = 0;
  return {
    async operate() {
      const [author, reader] = [connections[made % documents], connections[(made % documents) + documents]];
      made += 1;
      if (!author || !reader) throw new RangeError("a document needs two connections");
      const value = `chosen ${made}`;
      const settings = reader.document.getMap("settings");
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const patience = setTimeout(() => reject(new Error("no update came")), PATIENCE_MS);
      const look = (): void => {
        if (settings.get("value") === value) resolve();
      };
      reader.document.on("update", look);
      try {
        const sent = performance.now();
        author.document.getMap("settings").set("value", value);
        await promise;
        return performance.now() - sent;
      } finally {
        clearTimeout(patience);
        reader.document.off("update", look);
      }
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection[Symbol.dispose]();
    },
  };
}

/** Resolves once the document is synced with the server. */
async function connect(url: string, name: string): Promise<Connection> {
  const document = new Y.Doc();
  const websocketProvider = new HocuspocusProviderWebsocket({ url });
  const synced = Promise.withResolvers<void>();
  const provider = new HocuspocusProvider({ websocketProvider, name, document, onSynced: () => synced.resolve() });
  provider.attach();
  await synced.promise;
  return {
    document,
    [Symbol.dispose]() {
      provider.destroy();
      websocketProvider.destroy();
    },
  };
}
