import { expect, it } from "vitest";
import { createStatementNames } from "./open-database.ts";

it("a statement keeps its name, others get others, and past the limit they stay unnamed", () => {
  const name = createStatementNames(2);
  expect([{ sql: "a" }, { sql: "b" }, { sql: "a" }, { sql: "c" }, { sql: "b" }].map(name)).toEqual([
    "prisma_0",
    "prisma_1",
    "prisma_0",
    "",
    "prisma_1",
  ]);
});
