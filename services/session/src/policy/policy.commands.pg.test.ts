import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { operate, type Outcome } from "../operator.fixture.ts";
import { newApplication, populate } from "../population.fixture.ts";
import { startSystem, type System } from "../system.fixture.ts";

let system: System;
let folder: string;
beforeAll(async () => {
  system = await startSystem();
  folder = await mkdtemp(join(tmpdir(), "continuo-policies-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await system[Symbol.asyncDispose]();
});

const policies = (...argv: string[]): Promise<Outcome> => operate(system, "policies", ...argv);

it("an operator drafts rules, tries them, activates them, and sees the same figures", async () => {
  const applicationId = await newApplication(system.admin, { idleSeconds: 90, absoluteSeconds: 150 });
  const sketch = { startedAgo: 20, authAgo: 20, acr: "aal1", approved: undefined };
  await populate(
    system.admin,
    applicationId,
    [0, 10, 19].map((activeAgo, user) => ({ ...sketch, user, activeAgo })),
    system.clock.now,
  );
  const file = join(folder, "policy.json");
  await writeFile(file, JSON.stringify({ idleSeconds: 15 }));
  const foreseen = { sessions: 3, ends: { IDLE: 1, ABSOLUTE: 0, EVICTED: 0 } };

  expect(await policies("try", applicationId, "--file", file)).toMatchObject({ code: 0, value: foreseen });
  expect(await policies("draft", applicationId, "--file", file)).toMatchObject({
    code: 0,
    value: { version: 2, idleSeconds: 15, absoluteSeconds: 150 },
  });
  expect(await policies("activate", applicationId, "2", "--dry-run")).toMatchObject({ code: 0, value: foreseen });
  expect((await policies("activate", applicationId, "2")).code).toBe(3);
  expect(await policies("show", applicationId)).toMatchObject({ code: 0, value: { version: 1, state: "ACTIVE" } });
  const leaving = { ...system, signal: AbortSignal.abort() };
  expect(await operate(leaving, "policies", "activate", applicationId, "2", "--yes")).toMatchObject({
    code: 3,
    value: { moved: 0 },
  });
  expect(await policies("activate", applicationId, "2", "--yes")).toMatchObject({
    code: 0,
    value: { applicationId, version: 2, ended: foreseen.ends, moved: 3 },
  });
  const retired = { code: 1, said: expect.stringContaining("POLICY_RETIRED") };
  expect(await policies("activate", applicationId, "1", "--dry-run")).toMatchObject(retired);
  expect(await policies("activate", applicationId, "1", "--yes")).toMatchObject(retired);
  expect(await policies("list", applicationId)).toMatchObject({
    code: 0,
    value: [
      { version: 2, state: "ACTIVE" },
      { version: 1, state: "RETIRED" },
    ],
  });
});

it("rules that no policy may have, a file that is none, and a version that is none are told apart", async () => {
  const file = join(folder, "loose.json");
  await writeFile(file, JSON.stringify({ idleSeconds: 20 * 24 * 3_600 }));
  const loose = await policies("draft", "continuo", "--file", file);
  expect(loose).toMatchObject({ code: 2, value: undefined });
  expect(loose.said).toMatch(/idle-seconds: At aal1 at most 1209600/);
  expect((await policies("draft", "continuo", "--file", join(folder, "none.json"))).said).toMatch(/cannot be read/);
  expect((await policies("activate", "continuo", "7", "--yes")).said).toMatch(/POLICY_NOT_FOUND/);
  expect((await policies("try", "continuo")).code).toBe(2);
  const whole = join(folder, "whole.json");
  const { value } = await policies("show", "continuo");
  const { applicationId: _, version: __, state: ___, activatedAt: ____, ...rules } = z.looseObject({}).parse(value);
  await writeFile(whole, JSON.stringify(rules));
  for (const dry of [[], ["--dry-run"]]) {
    const nobodys = await policies("draft", "nobody", "--file", whole, ...dry);
    expect(nobodys).toMatchObject({ code: 1, said: expect.stringContaining("APPLICATION_NOT_FOUND") });
  }
});
