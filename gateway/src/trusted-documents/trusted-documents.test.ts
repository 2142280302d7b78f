import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../fixtures/eventually.ts";
import { type House, startHouse } from "../fixtures/house.ts";
import { createTestClient } from "../fixtures/socket-client.ts";
import { hashOf, loadManifest } from "./trusted-documents.ts";

const ME = "query Me { me { id } }";
const OTHER = "query Other { me { email } }";
const LIVE = "subscription Live { deviceChanged { to } }";

describe.each(["production", "development"] as const)("a gateway in %s with trusted documents", (mode) => {
  let directory: string;
  let house: House;
  let token: string;
  const file = (): string => join(directory, "manifest.json");
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "trusted-"));
    await writeFile(file(), JSON.stringify(Object.fromEntries([ME, LIVE].map((text) => [hashOf(text), text]))));
    house = await startHouse({ env: { MODE: mode, PUBLIC_URL: "http://127.0.0.1:1", TRUSTED_DOCUMENTS: file() } });
    token = await house.token(house.join());
  });
  afterAll(async () => {
    await house[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  const post = async (body: object): Promise<unknown> => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    return (await fetch(`${house.url}/graphql`, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };
  const persisted = (hash: string): object => ({ persistedQuery: { version: 1, sha256Hash: hash } });
  const answered = { data: { me: { id: expect.any(String) } } };
  const refused = (reason: string): object => ({ errors: [{ extensions: { code: "BAD_USER_INPUT", reason } }] });

  it.each([
    ["the id of GraphQL over HTTP", { documentId: `sha256:${hashOf(ME)}` }],
    ["its bare hash", { documentId: hashOf(ME) }],
    ["the extension of stock clients", { extensions: persisted(hashOf(ME)) }],
    ["its text", { query: ME }],
    ["its text and hash", { query: ME, extensions: persisted(hashOf(ME)) }],
  ])("answers one that is asked for by %s", async (_how, body) => {
    expect(await post(body)).toMatchObject(answered);
  });

  it("answers a GET by the hash", async () => {
    const search = new URLSearchParams({ extensions: JSON.stringify(persisted(hashOf(ME))) });
    const headers = { authorization: `Bearer ${token}`, "apollo-require-preflight": "1" };
    const response = await fetch(`${house.url}/graphql?${search.toString()}`, { headers });
    expect(await response.json()).toMatchObject(answered);
  });

  it("knows no other hash, in the words that stock clients know", async () => {
    expect(await post({ extensions: persisted(hashOf(OTHER)) })).toMatchObject({
      errors: [{ message: "PersistedQueryNotFound", extensions: { reason: "PERSISTED_QUERY_NOT_FOUND" } }],
    });
  });

  it(`${mode === "production" ? "refuses" : "answers"} any other text, before a subgraph is asked, on every transport`, async () => {
    house.state.calls.length = 0;
    const isOpen = mode === "development";
    const forged = { query: OTHER, extensions: persisted(hashOf(ME)) };
    for (const body of [{ query: OTHER }, ...(isOpen ? [] : [forged])])
      expect(await post(body)).toMatchObject(isOpen ? { data: { me: {} } } : refused("DOCUMENT_NOT_TRUSTED"));
    await using client = createTestClient(house.socketUrl, token);
    const run = client.run(OTHER);
    await eventually(() => expect(run.failure() ?? run.results[0]).toMatchObject(isOpen ? { data: {} } : [{}]));
    expect(JSON.stringify(run.failure() ?? "")).toContain(isOpen ? "" : "DOCUMENT_NOT_TRUSTED");
    expect(await stream({ query: OTHER })).toContain(isOpen ? `"email"` : "DOCUMENT_NOT_TRUSTED");
    expect(house.state.calls.length > 0).toBe(isOpen);
  });

  const stream = async (body: object): Promise<string> => {
    const headers = {
      accept: "text/event-stream",
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
    };
    return (await fetch(`${house.url}/graphql/stream`, { method: "POST", headers, body: JSON.stringify(body) })).text();
  };

  it("answers by the hash on a socket and an event stream too", async () => {
    expect(await stream({ documentId: hashOf(ME) })).toContain(`"data":{"me"`);
    await using client = createTestClient(house.socketUrl, token);
    const results: unknown[] = [];
    const stop = client.client.subscribe(
      { query: "", extensions: { ...persisted(hashOf(LIVE)) } },
      {
        next: (result) => void results.push(result),
        error: (cause) => void results.push(cause),
        complete: () => undefined,
      },
    );
    await eventually(() => expect(results[0]).toMatchObject({ data: { deviceChanged: {} } }));
    stop();
  });
});

it("a file that is no manifest, or one with a hash that is not that of its document, is no start", async () => {
  const directory = await mkdtemp(join(tmpdir(), "trusted-"));
  const file = join(directory, "manifest.json");
  const refusal = { code: "E_ENV_INVALID", message: expect.stringMatching(/^TRUSTED_DOCUMENTS: /) };
  expect(() => loadManifest(file)).toThrow(expect.objectContaining(refusal));
  for (const text of [JSON.stringify({ [hashOf(ME)]: OTHER }), "{", "[1]"]) {
    await writeFile(file, text);
    expect(() => loadManifest(file)).toThrow(expect.objectContaining(refusal));
  }
  await rm(directory, { recursive: true });
});
