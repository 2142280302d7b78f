import { createServer } from "node:net";
import { afterEach, describe, expect, test, vi } from "vitest";
import { checkDatabase, checkDisk, checkPort } from "./checks.mjs";
import { root } from "./place.mjs";

afterEach(() => vi.unstubAllEnvs());

describe("the gateway's port", () => {
  test("may be any free one", async () => {
    vi.stubEnv("PORT", "0");
    expect(await checkPort()).toBe("any free port");
  });

  test.each(["abc", "70000", "-1", "4000.5"])("is never %s", async (port) => {
    vi.stubEnv("PORT", port);
    await expect(checkPort()).rejects.toMatchObject({
      code: "E_ENV_INVALID",
      message: `PORT is ${port}, which is no port.`,
    });
  });

  test("is on an address of this machine: another one is not a busy port", async () => {
    vi.stubEnv("PORT", "0");
    vi.stubEnv("HOST", "192.0.2.1");
    await expect(checkPort()).rejects.toMatchObject({
      code: "E_ENV_INVALID",
      message: expect.stringContaining("HOST"),
    });
  });

  test("is busy while another program holds it", async () => {
    const squatter = createServer();
    await new Promise((resolve) => squatter.listen(0, "127.0.0.1", resolve));
    await expect(checkPort(squatter.address().port)).rejects.toMatchObject({ code: "E_PORT_BUSY" });
    squatter.close();
  });
});

describe("the disk", () => {
  test("is the one where data will live, in a folder that need not be there yet", async () => {
    vi.stubEnv("DATA_DIRECTORY", "of/somebody");
    expect(await checkDisk()).toMatch(/^\d+ MiB free$/);
    vi.stubEnv("DATABASE_URL", "");
    expect(await checkDatabase()).toContain(`${root}/of/somebody/postgres`);
  });

  // /proc has no free space.
  test.runIf(process.platform === "linux")("is full, whatever is free in the checkout", async () => {
    vi.stubEnv("DATA_DIRECTORY", "/proc/continuo/data");
    await expect(checkDisk()).rejects.toMatchObject({
      code: "E_DISK_FULL",
      message: "Only 0 MiB are free in /proc; 200 MiB are needed.",
    });
  });
});
