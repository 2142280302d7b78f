import { expect, test } from "vitest";
import { explainInstall } from "./install.mjs";

test.each([
  ["npm error code ENOTFOUND\nnpm error network request to https://registry.example failed", "E_REGISTRY_UNREACHABLE"],
  ["ERR_PNPM_META_FETCH_FAIL  GET https://registry.example/x: connect ECONNREFUSED", "E_REGISTRY_UNREACHABLE"],
  ["ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with frozen-lockfile", "E_LOCK_STALE"],
  ["ENOSPC: no space left on device, write", "E_DISK_FULL"],
  ["EROFS: read-only file system, mkdir '/x/node_modules'", "E_FOLDER_READ_ONLY"],
  ["ERR_PNPM_SOMETHING_ELSE  Never seen", "E_INSTALL_FAILED"],
])("an install that said %j is explained as %s", (output, code) => {
  expect(explainInstall(output)).toMatchObject({ code, fix: expect.stringMatching(/\w/) });
});

test("an install that failed for an unknown reason shows the reason it gave", () => {
  expect(explainInstall("progress\nERR_PNPM_ODD  A thing is odd\n").message).toContain("A thing is odd");
});
