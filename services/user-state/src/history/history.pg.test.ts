const HISTORY_LENGTH = 5;
import { defineNamespace, register, type NamespaceOptions } from "@continuo/namespace";
import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { createNamespaceStore } from "../namespace/namespace.store.ts";
import { publish } from "../namespace/publication.ts";
import { createReplica, shown, startSystem, type Replica, type System } from "../system.fixture.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system[Symbol.asyncDispose]());

const HISTORY = `query ($namespace: String!, $key: String!, $field: String! = "colour") {
  stateHistory(namespace: $namespace, key: $key, field: $field) {
  value deleted at stamp { ms counter clientId } device { id } } }`;

interface Write {
  readonly value: unknown;
  readonly deleted: boolean;
  readonly at: string;
  readonly stamp: { readonly ms: number; readonly counter: number };
  readonly device: { readonly id: string } | null;
}

async function historyOf(
  replica: Replica,
  unit: { namespace: string; key: string; field?: string } = { namespace: "preferences", key: "theme" },
  asked = system,
): Promise<Write[]> {
  const answer = await asked.ask<{ stateHistory: Write[] }>(replica.caller, HISTORY, unit);
  if (answer.data == null) throw new Error(answer.errors?.[0]?.extensions.reason);
  return answer.data.stateHistory;
}

describe("the history of a register", () => {
  it("has what lost in a merge, with device and time; setting it again undoes the merge", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    const now = Date.now();
    await laptop.push({ ops: [{ seq: 1, value: "laptop" }] });
    await phone.push({ clientNow: now, ops: [{ seq: 1, value: "phone", stamp: { ms: now - 60_000, counter: 0 } }] });
    expect(await historyOf(laptop)).toMatchObject([
      { value: "phone", deleted: false, device: { id: phone.caller.viewer.deviceId } },
    ]);
    const [lost] = await historyOf(phone);
    expect(Math.abs(Date.parse(lost?.at ?? "") - (now - 60_000))).toBeLessThan(5_000);

    await laptop.push({ ops: [{ seq: 2, value: lost?.value }] });
    expect(shown([await phone.pull()])).toEqual({ "theme/colour": "phone" });
    expect((await historyOf(phone)).map(({ value }) => value)).toEqual(["phone"]);
  });

  it("is over with what it is of", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: "phone" }] });
    await phone.sibling().push({ ops: [{ seq: 1, value: "laptop" }] });
    expect(await historyOf(phone)).toHaveLength(1);
    await system.admin.query("UPDATE user_state.state_entries SET expires_at = now() WHERE user_id = $1", [
      phone.caller.viewer.userId,
    ]);
    expect(await historyOf(phone)).toEqual([]);
  });

  it("keeps the latest few, deletions among them, and nothing of what was overwritten knowingly", async () => {
    const phone = createReplica(system);
    const laptop = phone.sibling();
    await phone.push({ ops: [1, 2].map((seq) => ({ seq, value: `phone ${seq}` })) });
    expect(await historyOf(phone)).toEqual([]);
    for (let seq = 1; seq <= 4; seq += 1) {
      const change = seq === 4 ? { payload: { type: "DELETE" } } : { value: `laptop ${seq}` };
      await laptop.push({ ops: [{ seq, ...change }] });
      await phone.push({ ops: [{ seq: seq + 2, value: `phone ${seq + 2}` }] });
    }
    const history = await historyOf(phone);
    expect(history).toHaveLength(HISTORY_LENGTH);
    expect(history.map(({ value, deleted }) => [value, deleted])).toEqual([
      [null, true],
      ["phone 5", false],
      ["laptop 3", false],
      ["phone 4", false],
      ["laptop 2", false],
    ]);
  });

  it("has what an older version wrote as the newest has it, by the name that the field has there", async () => {
    await using pool = Object.assign(new Pool({ connectionString: system.env.DATABASE_URL }), {
      async [Symbol.asyncDispose]() {
        await pool.end();
      },
    });
    const put = (version: number, options: Pick<NamespaceOptions, "fields" | "lens">) =>
      publish(createNamespaceStore(pool), defineNamespace({ name: "places", version, ...options }), { dryRun: false });
    const restart = (): Promise<System> => startSystem({ DATABASE_URL: system.env.DATABASE_URL });
    await put(1, { fields: { at: register(z.object({ street: z.string() })) } });
    await using before = await restart();
    const phone = createReplica(before);
    const op = { namespace: "places", key: "home", field: "at" };
    await phone.push({ ops: [{ ...op, seq: 1, value: { street: "A 1" } }] });
    await createReplica(before, { userId: phone.caller.viewer.userId }).push({
      ops: [{ ...op, seq: 1, value: { street: "A 2" } }],
    });

    await put(2, {
      fields: { place: register(z.object({ line: z.string(), country: z.string() })) },
      lens: [
        { step: "RENAME", field: "at", to: "place" },
        { step: "RENAME", field: "place", path: ["street"], to: "line" },
        { step: "DEFAULT", field: "place", path: ["country"], value: "FR" },
      ],
    });
    await using after = await restart();
    expect(await historyOf(phone, { ...op, field: "place" }, after)).toMatchObject([
      { value: { line: "A 1", country: "FR" }, deleted: false },
    ]);
    expect(await historyOf(phone, op, after)).toEqual([]);
  });

  it("is nobody else's, and empty where there is none", async () => {
    const phone = createReplica(system);
    await phone.push({ ops: [{ seq: 1, value: 1 }] });
    await phone.sibling().push({ ops: [{ seq: 1, value: 2 }] });
    expect(await historyOf(phone)).toHaveLength(1);
    expect(await historyOf(createReplica(system))).toEqual([]);
    expect(await historyOf(phone, { namespace: "preferences", key: "other" })).toEqual([]);
    expect(await historyOf(phone, { namespace: "preferences", key: "nul\u0000" })).toEqual([]);
    await expect(historyOf(phone, { namespace: "nowhere", key: "theme" })).rejects.toThrow("NAMESPACE_UNKNOWN");
  });
});
