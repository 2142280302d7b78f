import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("the source needs nothing that Node has and a browser of 2023 has not", async () => {
  const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const options = "--ignoreConfig --noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler";
  const environment = ["--target", "es2023", "--lib", "es2023,dom", "--types", "", "--allowImportingTsExtensions"];
  const tsc = here("../../../node_modules/.bin/tsc");
  const { stdout } = await promisify(execFile)(tsc, [...options.split(" "), ...environment, here("./index.ts")]);
  expect(stdout).toBe("");
});
