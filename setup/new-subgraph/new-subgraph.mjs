/**
 * `npm run new:subgraph -- <name>`: creates a service, composed into the graph and started by `npm start`, `docker
 * compose` and the tests. Everything is planned before anything is written; if a later step fails, everything is restored.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { capture } from "../child.mjs";
import { generate } from "../generate.mjs";
import { installAnew } from "../install.mjs";
import { bin, pinnedNode, root } from "../place.mjs";
import { SetupError } from "../setup-error.mjs";
import { phase, say } from "../terminal.mjs";

const HELP = `npm run new:subgraph -- <name>

  Makes services/<name> from a template (a type, a query, a field of User, tests), and adds it to the graph, to npm start,
  to docker-compose.yml and to the README's table. The name is kebab-case, for example billing or gift-cards.

  --files-only   writes the files, and leaves installing, composing and generating to you
  --help         this text

  docs/subgraphs.md says how it goes on from there.`;

const TEMPLATE = join(import.meta.dirname, "template");
const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
const LONGEST_NAME = 30;
/** Files that later steps write: restored when one of them fails. */
const WRITTEN_LATER = ["pnpm-lock.yaml", "gateway/supergraph.graphql", "README.md"];
const MARK = "npm run new:subgraph adds the next one above";

/** Resolves to the exit code. Throws SetupError E_SUBGRAPH_NAME, E_SUBGRAPH_TAKEN, E_SUBGRAPH_PLACE or E_SUBGRAPH_FAILED. */
export async function newSubgraph(args) {
  const { name, filesOnly } = read(args);
  if (name === undefined) {
    say(HELP);
    return 0;
  }
  const words = namesOf(name);
  assertFree(words);
  const files = plan(words);
  const before = new Map([...files.keys(), ...WRITTEN_LATER, ...apiFiles()].map((path) => [path, textOf(path)]));
  try {
    for (const [path, text] of files) write(path, text);
    if (!filesOnly) await finish();
  } catch (cause) {
    for (const [path, text] of before) if (text !== undefined) write(path, text);
    rmSync(join(root, "services", name), { recursive: true, force: true });
    throw cause;
  }
  say(`\n  services/${name} is there. Next: npm test -- services/${name}, npm start, docs/subgraphs.md`);
  return 0;
}

function read(args) {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { help: { type: "boolean", short: "h" }, "files-only": { type: "boolean" } },
    });
    if (values.help) return {};
    const [name, ...rest] = positionals;
    if (name === undefined || rest.length > 0) throw new TypeError("it takes one name");
    return { name, filesOnly: values["files-only"] ?? false };
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new SetupError(
      "E_SUBGRAPH_NAME",
      `This command was not understood: ${cause.message}.`,
      "npm run new:subgraph -- billing",
    );
  }
}

/** `gift-cards`, `giftCards`, `GiftCards`, `GIFT_CARDS`. */
function namesOf(name) {
  if (!NAME.test(name) || name.length > LONGEST_NAME)
    throw new SetupError(
      "E_SUBGRAPH_NAME",
      `${JSON.stringify(name)} is no name for a subgraph.`,
      `Use kebab-case of ${LONGEST_NAME} characters at most, such as billing or gift-cards.`,
    );
  const camel = name.replaceAll(/-(.)/g, (_dash, letter) => letter.toUpperCase());
  const pascal = camel[0].toUpperCase() + camel.slice(1);
  return { name, camel, pascal, upper: name.toUpperCase().replaceAll("-", "_") };
}

function assertFree({ name, camel, pascal, upper }) {
  const supergraph = textOf("gateway/supergraph.graphql");
  const fieldOfRoot = new RegExp(`^type (Query|User)\\n[^}]*^  ${camel}[(:]`, "m");
  const taken = [
    existsSync(join(root, "services", name)) && `there is a services/${name}`,
    [...packageNames()].includes(`@continuo/${name}`) && `there is a package @continuo/${name}`,
    new RegExp(`^(type|interface|union|enum|scalar|input) ${pascal}\\b`, "m").test(supergraph) &&
      `the graph has a type ${pascal}`,
    fieldOfRoot.test(supergraph) && `the graph has a field ${camel}`,
    new RegExp(`\\b${upper}_URL\\b`).test(textOf("gateway/src/env.ts")) && `${upper}_URL is a variable of the gateway`,
  ].filter(Boolean);
  if (taken.length > 0)
    throw new SetupError("E_SUBGRAPH_TAKEN", `${name} is taken: ${taken.join(", ")}.`, "Choose another name.");
}

function packageNames() {
  const rooms = [
    "gateway",
    "embedded",
    "e2e",
    ...["packages", "services"].flatMap((group) => readdirSync(join(root, group)).map((room) => `${group}/${room}`)),
  ];
  return new Set(
    rooms
      .filter((room) => existsSync(join(root, room, "package.json")))
      .map((room) => JSON.parse(textOf(`${room}/package.json`)).name),
  );
}

/** The full text of every file that is new or changes. */
function plan(words) {
  const { name, camel, pascal, upper } = words;
  const port = nextPort();
  const filling = { name, camel, Pascal: pascal, port };
  const fill = (text) => text.replaceAll(/__(name|camel|Pascal|port)__/g, (_whole, word) => filling[word]);
  const files = new Map(
    readdirSync(TEMPLATE, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        const place = fill(path.slice(TEMPLATE.length + 1).replace(/\.template$/, ""));
        return [`services/${name}/${place}`, fill(readFileSync(path, "utf8"))];
      }),
  );
  files.set("embedded/src/further-subgraphs.ts", furtherSubgraphs(name));
  files.set("embedded/package.json", withDependency(`@continuo/${name}`));
  files.set("docker-compose.yml", withService({ name, port, upper }));
  return files;
}

function nextPort() {
  const ports = readdirSync(join(root, "services")).flatMap((service) => {
    const [, port] =
      /PORT: envTypes\.port\.default\((\d+)\)/.exec(textOf(`services/${service}/src/env.ts`) ?? "") ?? [];
    return port === undefined ? [] : [Number(port)];
  });
  return Math.max(...ports) + 1;
}

function furtherSubgraphs(added) {
  const path = "embedded/src/further-subgraphs.ts";
  const text = textOf(path);
  const known = [...text.matchAll(/"@continuo\/([\w-]+)\/app"/g)].map(([, name]) => name);
  const all = [...known, added].map(namesOf);
  const imports = all.flatMap(({ name, pascal }) => [
    `import { startApp as start${pascal} } from "@continuo/${name}/app";`,
    `import { Env as ${pascal}Env, loadEnv as load${pascal}Env } from "@continuo/${name}/env";`,
  ]);
  const entries = all.map(
    ({ name, pascal }) =>
      `  ${name.includes("-") ? JSON.stringify(name) : name}: { Env: ${pascal}Env, start: async (source) => start${pascal}(load${pascal}Env(source)) },`,
  );
  const head = text.slice(0, text.indexOf("*/\n") + 3);
  return [
    `${head}${imports.join("\n")}`,
    `import type { FurtherSubgraph } from "./rooms.ts";\n`,
    `export const FURTHER_SUBGRAPHS: Readonly<Record<string, FurtherSubgraph>> = {`,
    ...entries,
    `};\n`,
  ].join("\n");
}

function withDependency(dependency) {
  const manifest = JSON.parse(textOf("embedded/package.json"));
  const all = Object.entries({ ...manifest.dependencies, [dependency]: "workspace:*" });
  manifest.dependencies = Object.fromEntries(all.sort(([one], [other]) => (one < other ? -1 : 1)));
  return `${JSON.stringify(manifest, undefined, 2)}\n`;
}

function withService({ name, port, upper }) {
  const service = `  ${name}:
    <<: *process
    command: [node, services/${name}/src/main.ts]
    environment:
      HOST: 0.0.0.0
      PORT: "${port}"
      GATEWAY_PUBLIC_KEY: *gateway-public-key
    healthcheck:
      <<: *health
      test: [CMD, node, --eval, 'fetch("http://127.0.0.1:${port}/ready").then(({ ok }) => process.exit(Number(!ok)))']
`;
  const additions = [
    `    ${name}: { condition: service_healthy }\n`,
    `  ${upper}_URL: http://${name}:${port}\n`,
    `${service}\n`,
  ];
  const parts = textOf("docker-compose.yml").split(new RegExp(`(^ *# ${MARK}\\n)`, "m"));
  if (parts.length !== 2 * additions.length + 1)
    throw new SetupError(
      "E_SUBGRAPH_PLACE",
      `docker-compose.yml has not its ${additions.length} lines "# ${MARK}".`,
      "Put them back where they were: after the last subgraph, and in the gateways' depends_on and environment.",
    );
  return parts.map((part, index) => (index % 2 === 1 ? `${additions[(index - 1) / 2]}${part}` : part)).join("");
}

async function finish() {
  await phase("dependencies", installAnew);
  await phase("graph", () => make("graph", pinnedNode, "gateway/src/compose-main.ts"));
  await phase("configuration", () => make("configuration", pinnedNode, "embedded/src/configuration-main.ts"));
  await phase("formatting", () => make("formatting", join(bin, "oxfmt"), "."));
  await phase("generated code", () => generate(["types"]));
}

async function make(what, program, ...args) {
  const { code, output } = await capture(program, args);
  if (code === 0) return;
  process.stderr.write(`\n${output}\n`);
  throw new SetupError(
    "E_SUBGRAPH_FAILED",
    `The ${what} could not be made.`,
    "Correct what is said above, and run this again.",
  );
}

const apiFiles = () => readdirSync(join(root, "services")).map((service) => `services/${service}/api.graphql`);

function textOf(path) {
  const file = join(root, path);
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

function write(path, text) {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
