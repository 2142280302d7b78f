import { expect, test } from "vitest";
import { z } from "zod";
import { defineJob } from "./jobs.ts";
import { outboxRow } from "./outbox.ts";

const rest = { schema: z.object({ to: z.string() }), attempts: 1, backoffMs: 1 };

test.each(["fan-out", "a", "step-2-again"])("%s is a job's name", (name) => {
  expect(defineJob({ ...rest, name }).name).toBe(name);
});

test.each(["", "Fan-out", "fan_out", "fan:out", "-fan", "fan-", "2fan"])("%j is not a job's name", (name) => {
  expect(() => defineJob({ ...rest, name })).toThrow(RangeError);
});

test("an outbox row carries the job's name, its parsed payload and a fresh id unless one is given", () => {
  const job = defineJob({ ...rest, name: "greet" });
  expect(outboxRow(job, { to: "Ada" }, "an-id")).toEqual({ id: "an-id", topic: "greet", payload: { to: "Ada" } });
  expect(outboxRow(job, { to: "Ada" }).id).not.toBe(outboxRow(job, { to: "Ada" }).id);
  expect(() => outboxRow<unknown>(job, { to: 1 })).toThrow(z.ZodError);
});
