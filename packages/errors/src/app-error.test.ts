import { expect, test } from "vitest";
import { AppError, ERROR_CODES, HTTP_STATUS, isAppError } from "./index.ts";

test("every code has an HTTP status that means an error", () => {
  expect(Object.keys(HTTP_STATUS).toSorted()).toEqual([...ERROR_CODES].toSorted());
  for (const code of ERROR_CODES) expect(HTTP_STATUS[code]).toBeGreaterThanOrEqual(400);
});

test("an AppError keeps what is for the client apart from its cause", () => {
  const cause = new Error("relation does not exist");
  const error = new AppError("CONFLICT", "MOVED_ON", "Read it again.", { details: { rev: 7 }, cause });
  expect(error).toMatchObject({ code: "CONFLICT", reason: "MOVED_ON", message: "Read it again.", details: { rev: 7 } });
  expect(error.cause).toBe(cause);
  expect(new AppError("NOT_FOUND", "DEVICE_UNKNOWN", "No such device.")).not.toHaveProperty("cause");
});

test("only an AppError is one, whatever looks like it", () => {
  expect(isAppError(new AppError("INTERNAL_SERVER_ERROR", "UNEXPECTED", "Sorry."))).toBe(true);
  expect(isAppError({ name: "AppError", code: "CONFLICT", reason: "MOVED_ON" })).toBe(false);
  expect(isAppError(null)).toBe(false);
});
