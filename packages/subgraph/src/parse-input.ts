import { AppError } from "@continuo/errors";
import type { z } from "zod";

/**
 * Validates what GraphQL types cannot express. Throws BAD_USER_INPUT, INPUT_INVALID with the path and problem of each fault.
 */
export function parseInput<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ path: path.join("."), message }));
  const first = issues[0];
  const where = first?.path ? `${first.path}: ` : "";
  throw new AppError("BAD_USER_INPUT", "INPUT_INVALID", `${where}${first?.message ?? "The input is not valid"}`, {
    details: { issues },
  });
}
