/** The README's table of environment variables, made from the schemas that the processes parse. */
import { MigrateEnv } from "@continuo/database";
import { Env as GatewayEnv } from "@continuo/gateway/env";
import * as identity from "@continuo/identity/env";
import * as session from "@continuo/session/env";
import * as userState from "@continuo/user-state/env";
import { z } from "zod";
import { FURTHER_SUBGRAPHS } from "./further-subgraphs.ts";

const PROCESSES: Readonly<Record<string, z.ZodType>> = {
  gateway: GatewayEnv,
  identity: identity.Env,
  session: session.Env,
  "session worker": session.WorkerEnv,
  "user-state": userState.Env,
  "user-state worker": userState.WorkerEnv,
  ...Object.fromEntries(Object.entries(FURTHER_SUBGRAPHS).map(([name, { Env }]) => [name, Env])),
  migrate: MigrateEnv,
  "identity commands": identity.OperatorEnv,
  "session commands": session.OperatorEnv,
  "user-state commands": userState.OperatorEnv,
};

const BEGIN = "<!-- configuration:begin -->";
const END = "<!-- configuration:end -->";

const JsonSchema = z.looseObject({
  required: z.array(z.string()).default([]),
  properties: z.record(
    z.string(),
    z.looseObject({ default: z.unknown().optional(), description: z.string().default("") }),
  ),
});

interface Row {
  readonly variable: string;
  readonly processes: string[];
  readonly fallback: string;
  readonly meaning: string;
}

/** `text` with the table between its two markers regenerated. Throws when a marker is missing. */
export function withConfiguration(text: string): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`the text has no ${BEGIN} … ${END}`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${configurationTable()}\n\n${text.slice(end)}`;
}

/** One row per variable and meaning; processes that share both share the row. */
function configurationTable(): string {
  const rows = new Map<string, Row>();
  for (const [process, env] of Object.entries(PROCESSES)) {
    const schema = JsonSchema.parse(z.toJSONSchema(env, { io: "input", unrepresentable: "any" }));
    for (const [variable, { default: preset, description }] of Object.entries(schema.properties)) {
      const fallback = fallbackOf(preset, schema.required.includes(variable));
      const key = [variable, fallback, description].join("\n");
      const row = rows.get(key) ?? { variable, processes: [], fallback, meaning: description };
      row.processes.push(process);
      rows.set(key, row);
    }
  }
  const lines = [...rows.values()].map(
    ({ variable, processes, fallback, meaning }) =>
      `| \`${variable}\` | ${processes.join(", ")} | ${fallback} | ${meaning} |`,
  );
  return ["| variable | read by | default | meaning |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

function fallbackOf(preset: unknown, isRequired: boolean): string {
  if (typeof preset === "string" || typeof preset === "number") return preset === "" ? "none" : `\`${preset}\``;
  return isRequired ? "**required**" : "none";
}
