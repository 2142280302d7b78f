/**
 * The database part of `npm run generate`: the Prisma client of each service, from its own schema file, without the network.
 * A client whose schema file and Prisma version have not changed is left alone.
 */
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { loadSchemaFiles, prismaDirectory, type SchemaFile } from "./migrations/history.ts";

const repository = dirname(resolve(prismaDirectory));
const prisma = createRequire(join(repository, "package.json")).resolve("prisma/build/index.js");
const version = await readFile(join(dirname(prisma), "../package.json"), "utf8");

await Promise.all((await loadSchemaFiles()).map(generate));

async function generate(file: SchemaFile): Promise<void> {
  const output = /output\s*=\s*"([^"]+)"/.exec(file.content)?.[1];
  if (output === undefined) return;
  const stampFile = join(prismaDirectory, output, ".made-from");
  const stamp = createHash("sha256").update(version).update(file.content).digest("hex");
  if ((await readFile(stampFile, "utf8").catch(() => "")) === stamp) return;

  await promisify(execFile)(process.execPath, [prisma, "generate", "--schema", file.path], {
    cwd: repository,
    // `generate` never runs the schema engine, yet downloads it unless told where it is: any existing file will do.
    env: {
      ...process.env,
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      PRISMA_HIDE_UPDATE_MESSAGE: "1",
      CHECKPOINT_DISABLE: "1",
    },
  });
  await mkdir(dirname(stampFile), { recursive: true });
  await writeFile(stampFile, stamp);
  process.stdout.write(`generated the Prisma client of ${file.owner}\n`);
}
