import { defineNamespace } from "@continuo/namespace";
import { expect, it } from "vitest";
import { createNamespaces, type Revision } from "./namespace.ts";

const published = (version: number): Revision => {
  const fields = { f: { kind: "REGISTER", schema: {} } } as const;
  return { revision: 1, definition: defineNamespace({ name: "n", version, fields }) };
};

it("namespaces are looked for anew after they could not be read", async () => {
  let isDown = true;
  const load = async (): Promise<Revision[]> => {
    if (isDown) throw new Error("no connection");
    return [published(1)];
  };
  const namespaces = createNamespaces({ store: { load }, now: () => 0 });
  await expect(namespaces.all()).rejects.toThrow("no connection");
  isDown = false;
  expect(await namespaces.all()).toHaveLength(1);
});

it("a version that is not known is looked for at once, and no more than once a second", async () => {
  let now = 0;
  let versions = [published(1)];
  const namespaces = createNamespaces({ store: { load: async () => versions }, now: () => now });
  const versionFor = async (schemaVersion: number) =>
    (await namespaces.find(["n"], [{ namespace: "n", schemaVersion }])).get("n")?.version;
  expect(await versionFor(1)).toBe(1);
  versions = [published(1), published(2)];
  expect(await versionFor(2)).toBe(1);
  now = 1_000;
  expect(await versionFor(1)).toBe(1);
  expect(await versionFor(2)).toBe(2);
});
