/**
 * Generated code, which is not committed: Prisma clients (needed to run) and GraphQL resolver types (needed to check).
 * Each kind is regenerated only when one of its sources has changed.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capture } from "./child.mjs";
import { lockHash } from "./install.mjs";
import { bin, modules, pinnedNode, root } from "./place.mjs";
import { SetupError } from "./setup-error.mjs";

const KINDS = {
  clients: {
    name: "Prisma clients",
    sources: () => files("prisma", ".prisma"),
    outputs: () =>
      files("prisma", ".prisma").flatMap((file) => {
        const [, output] = /output\s*=\s*"([^"]+)"/.exec(readFileSync(join(root, file), "utf8")) ?? [];
        return output === undefined ? [] : [join(root, "prisma", output)];
      }),
    program: [pinnedNode, "packages/database/src/generate-main.ts"],
  },
  types: {
    name: "GraphQL types",
    sources: () => [
      "codegen.ts",
      ...files("services", "package.json"),
      ...files("services", ".graphql").filter((file) => file.includes("/src/")),
    ],
    outputs: () => services().map((service) => join(root, "services", service, "src/generated")),
    program: [join(bin, "graphql-codegen"), "--config", "codegen.ts"],
  },
};

/** Which of `kinds` (`clients`, `types`) are missing or stale. */
export function stale(kinds) {
  return kinds.filter((kind) => {
    return !KINDS[kind].outputs().every((folder) => existsSync(folder)) || readStamp(kind) !== fingerprint(kind);
  });
}

/** Generates `kinds` in parallel. Throws SetupError E_GENERATE_FAILED. */
export async function generate(kinds) {
  const [failed] = (await Promise.allSettled(kinds.map(generateOne))).filter(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

async function generateOne(kind) {
  const { name, program } = KINDS[kind];
  rmSync(stampFile(kind), { force: true });
  const { code, output } = await capture(program[0], program.slice(1));
  if (code !== 0) {
    process.stderr.write(`\n${output}\n`);
    throw new SetupError(
      "E_GENERATE_FAILED",
      `The ${name} could not be generated.`,
      "Correct the schema named above and run: npm run generate",
    );
  }
  writeFileSync(stampFile(kind), fingerprint(kind));
}

function fingerprint(kind) {
  const hash = createHash("sha256").update(lockHash());
  for (const file of KINDS[kind].sources()) hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

const stampFile = (kind) => join(modules, `.continuo-generated-${kind}`);

function readStamp(kind) {
  return existsSync(stampFile(kind)) ? readFileSync(stampFile(kind), "utf8") : undefined;
}

function services() {
  return readdirSync(join(root, "services"));
}

/** Sorted paths below `folder`, without node_modules, that end in `ending`. */
function files(folder, ending) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return entry.name === "node_modules" ? [] : files(path, ending);
      return entry.name.endsWith(ending) ? [path] : [];
    })
    .sort();
}
