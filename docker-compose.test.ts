/**
 * Checks docker-compose.yml and the Dockerfile against the code, without a container engine: what they start, with
 * which environment.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { FURTHER_SUBGRAPHS } from "./embedded/src/further-subgraphs.ts";
import { Env as GatewayEnv, SUBGRAPHS, subgraphUrlsOf } from "./gateway/src/env.ts";
import {
  createGrantSigner,
  createGrantVerifier,
  createIdentitySigner,
  createIdentityVerifier,
} from "./packages/access/src/index.ts";
import { MigrateEnv } from "./packages/database/src/env.ts";
import { ROLES } from "./packages/database/src/migrations/roles.ts";
import { envTypes, loadEnv } from "./packages/process/src/index.ts";
import { Env as IdentityEnv } from "./services/identity/src/env.ts";
import { Env as SessionEnv, JobName, WorkerEnv as SessionWorkerEnv } from "./services/session/src/env.ts";
import { Env as UserStateEnv, WorkerEnv as UserStateWorkerEnv } from "./services/user-state/src/env.ts";

const root = import.meta.dirname;
const read = (file: string): string => readFileSync(join(root, file), "utf8");

const Service = z.object({
  image: z.string(),
  build: z.string().optional(),
  command: z.array(z.string()),
  environment: z.record(z.string(), z.string()),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  networks: z.array(z.string()),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  profiles: z.array(z.string()).default([]),
  read_only: z.boolean().default(false),
  cap_drop: z.array(z.string()).default([]),
  security_opt: z.array(z.string()),
});
const Compose = z.object({
  services: z.record(z.string(), Service),
  networks: z.record(z.string(), z.object({ internal: z.boolean().default(false) })),
  volumes: z.record(z.string(), z.unknown()),
});

const text = read("docker-compose.yml");
const compose = Compose.parse(parse(text, { merge: true }));
const secrets = await makeSecrets();

/** What `npm run secrets` writes into an empty directory. */
async function makeSecrets(): Promise<Record<string, string>> {
  await using directory = await mkdtempDisposable(join(tmpdir(), "continuo-secrets-"));
  runSecrets(directory.path);
  return readSecrets(directory.path);
}

function runSecrets(cwd: string): { status: number | null; stderr: string } {
  return spawnSync(process.execPath, [join(root, "setup/secrets.mjs")], { cwd, encoding: "utf8" });
}

function readSecrets(directory: string): Record<string, string> {
  const read = Object.entries(parseEnv(readFileSync(join(directory, ".env"), "utf8")));
  return Object.fromEntries(read.map(([name, value = ""]) => [name, value]));
}

/** As Compose interpolates: `${NAME:-default}` and `${NAME:?message}`. */
function interpolate(value: string, variables: Record<string, string | undefined>): string {
  return value.replace(/\$\{(\w+):([-?])([^}]*)\}/g, (_whole, name: string, kind: string, rest: string) => {
    const given = variables[name];
    if (given) return given;
    if (kind === "?") throw new Error(`${name}: ${rest}`);
    return rest;
  });
}

function service(name: string): z.infer<typeof Service> {
  const found = compose.services[name];
  if (!found) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

const environmentOf = (name: string, variables = secrets): Record<string, string> =>
  Object.fromEntries(
    Object.entries(service(name).environment).map(([key, value]) => [key, interpolate(value, variables)]),
  );

const main = "src/main.ts";
const worker = "src/worker.ts";
const seedEnv = z.object({ DATABASE_URL: envTypes.postgresUrl });
/** Every process of ours: the file it runs, and the environment schema of that file. */
const OURS: Record<string, { runs: string; env: z.ZodObject }> = {
  migrate: { runs: "packages/database/src/migrate-main.ts", env: MigrateEnv },
  "seed-identity": { runs: "services/identity/src/seed.ts", env: seedEnv },
  "seed-session": { runs: "services/session/src/seed.ts", env: seedEnv },
  "seed-user-state": { runs: "services/user-state/src/seed.ts", env: seedEnv },
  identity: { runs: `services/identity/${main}`, env: IdentityEnv },
  session: { runs: `services/session/${main}`, env: SessionEnv },
  "user-state": { runs: `services/user-state/${main}`, env: UserStateEnv },
  ...Object.fromEntries(
    Object.entries(FURTHER_SUBGRAPHS).map(([name, { Env }]) => [name, { runs: `services/${name}/${main}`, env: Env }]),
  ),
  "session-worker-expire-sessions": { runs: `services/session/${worker}`, env: SessionWorkerEnv },
  "session-worker-fan-out-revocation": { runs: `services/session/${worker}`, env: SessionWorkerEnv },
  "session-worker-retain": { runs: `services/session/${worker}`, env: SessionWorkerEnv },
  "user-state-worker": { runs: `services/user-state/${worker}`, env: UserStateWorkerEnv },
  "gateway-a": { runs: `gateway/${main}`, env: GatewayEnv },
  "gateway-b": { runs: `gateway/${main}`, env: GatewayEnv },
};
const names = Object.keys(OURS);

test("the scaled form is these processes, Postgres and Valkey, and nothing else", () => {
  expect(Object.keys(compose.services).toSorted()).toEqual([...names, "postgres", "valkey"].toSorted());
  const entries = ["main.ts", "worker.ts"].flatMap((file) =>
    ["gateway", ...readdirSync(join(root, "services")).map((name) => `services/${name}`)]
      .map((room) => `${room}/src/${file}`)
      .filter((path) => existsSync(join(root, path))),
  );
  const run = new Set(Object.values(OURS).map(({ runs }) => runs));
  expect(entries.filter((path) => !run.has(path))).toEqual([]);
});

describe.each(Object.entries(OURS))("%s", (name, { runs, env }) => {
  test("runs a file that is there", () => {
    expect(service(name).command).toEqual(["node", runs]);
    expect(existsSync(join(root, runs))).toBe(true);
  });

  test("has an environment that its own code accepts, and knows every variable of", () => {
    const environment = environmentOf(name);
    expect(() => loadEnv(env, environment)).not.toThrow();
    expect(Object.keys(environment).filter((variable) => !(variable in env.shape))).toEqual([]);
  });

  test("runs as nobody in particular, on a file system it cannot change", () => {
    expect(service(name)).toMatchObject({
      image: "continuo",
      build: ".",
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
    });
  });

  test("waits for what it needs", () => {
    const { depends_on: waits, environment } = service(name);
    const expected = {
      ...("REDIS_URL" in environment && { valkey: { condition: "service_healthy" } }),
      ...("DATABASE_URL" in environment &&
        (name === "migrate"
          ? { postgres: { condition: "service_healthy" } }
          : { migrate: { condition: "service_completed_successfully" } })),
      ...(name.startsWith("gateway-") &&
        Object.fromEntries(SUBGRAPHS.map((one) => [one, { condition: "service_healthy" }]))),
    };
    expect(waits).toEqual(expected);
  });
});

test("each process enters the database with its own role", () => {
  const roleOf = (name: string): string => new URL(environmentOf(name)["DATABASE_URL"] ?? "").username;
  for (const name of names.filter((name) => "DATABASE_URL" in service(name).environment)) {
    const expected = name.includes("identity")
      ? ROLES.identity
      : name.includes("user-state")
        ? ROLES.userState
        : name.includes("session")
          ? ROLES.session
          : "postgres";
    expect([name, roleOf(name)]).toEqual([name, expected]);
  }
});

test("each job of session has one worker that does it", () => {
  const jobs = names.flatMap((name) => environmentOf(name)["JOBS"]?.split(",") ?? []);
  expect(jobs.toSorted()).toEqual(JobName.options.toSorted());
});

test("the gateways find the subgraphs where these listen, and agree with them on keys, issuer and audience", async () => {
  for (const gateway of ["gateway-a", "gateway-b"]) {
    const env = loadEnv(GatewayEnv, environmentOf(gateway));
    const urls = subgraphUrlsOf(env);
    for (const name of SUBGRAPHS) {
      const { PORT, HOST } = environmentOf(name);
      expect([urls.get(name), HOST]).toEqual([`http://${name}:${PORT}`, "0.0.0.0"]);
    }
    const session = loadEnv(SessionEnv, environmentOf("session"));
    expect([env.TOKEN_ISSUER, env.TOKEN_AUDIENCE]).toEqual([session.TOKEN_ISSUER, session.TOKEN_AUDIENCE]);
    const statement = await createIdentitySigner(env.GATEWAY_PRIVATE_KEY).sign({ kind: "anonymous" });
    for (const name of SUBGRAPHS) {
      const { GATEWAY_PUBLIC_KEY } = loadEnv(z.object({ GATEWAY_PUBLIC_KEY: envTypes.publicJwk }), environmentOf(name));
      expect(await createIdentityVerifier(GATEWAY_PUBLIC_KEY).verify(statement)).toEqual({ kind: "anonymous" });
    }
  }
});

test("the session subgraph accepts the grants that identity signs", async () => {
  const now = new Date();
  const id = "0199a1c2-0000-7000-8000-000000000001";
  const { GRANT_PRIVATE_KEY } = loadEnv(IdentityEnv, environmentOf("identity"));
  const { GRANT_PUBLIC_KEY } = loadEnv(SessionEnv, environmentOf("session"));
  const grant = await createGrantSigner(GRANT_PRIVATE_KEY).sign(
    { jti: id, sub: id, acr: "aal1", amr: ["pwd"], auth_time: 0 },
    now,
  );
  expect(await createGrantVerifier(GRANT_PUBLIC_KEY).verify(grant, now)).toMatchObject({ sub: id });
});

test("a health check asks the port that its process listens on", () => {
  for (const name of names.filter((name) => service(name).healthcheck)) {
    const { PORT, HEALTH_PORT } = environmentOf(name);
    expect(service(name).healthcheck?.test).toEqual([
      "CMD",
      "node",
      "--eval",
      `fetch("http://127.0.0.1:${HEALTH_PORT ?? PORT}/ready").then(({ ok }) => process.exit(Number(!ok)))`,
    ]);
  }
  const once = names.filter((name) => name === "migrate" || name.startsWith("seed-"));
  expect(names.filter((name) => !service(name).healthcheck)).toEqual(once);
});

test("only the gateways can be reached from outside, each at a port of its own; out goes only who tells other systems", () => {
  expect(compose.networks["inside"]).toEqual({ internal: true });
  const reachable = Object.entries(compose.services).filter(([, { ports }]) => ports.length > 0);
  expect(reachable.map(([name, { ports }]) => [name, ports.map((port) => interpolate(port, {}))])).toEqual([
    ["gateway-a", ["4000:4000"]],
    ["gateway-b", ["4001:4000"]],
  ]);
  const goingOut = Object.entries(compose.services).filter(([, { networks }]) => networks.includes("outside"));
  expect(goingOut.map(([name]) => name)).toEqual(["session-worker-fan-out-revocation", "gateway-a", "gateway-b"]);
  expect(environmentOf("session-worker-fan-out-revocation")["JOBS"]).toContain("deliver-notices");
  expect(new Set(["gateway-a", "gateway-b"].map((name) => environmentOf(name)["REPLICA"])).size).toBe(2);
});

test("what must last is on volumes, where the images keep it", () => {
  expect(service("postgres")).toMatchObject({ image: "postgres:18", volumes: ["database:/var/lib/postgresql"] });
  expect(service("valkey").volumes).toEqual(["signals:/data"]);
  expect(service("valkey").command).toEqual(
    expect.arrayContaining(["--maxmemory-policy", "noeviction", "--appendonly", "yes"]),
  );
  expect(Object.keys(compose.volumes).toSorted()).toEqual(["database", "signals"]);
  expect(names.flatMap((name) => service(name).volumes)).toEqual([]);
});

test("demo people are made only when asked for", () => {
  expect(names.filter((name) => service(name).profiles.includes("seed"))).toEqual(
    names.filter((name) => name.startsWith("seed-")),
  );
});

describe("secrets", () => {
  const asked = new Set([...text.matchAll(/\$\{(\w+):\?/g)].map(([, name = ""]) => name));

  test("are exactly those that docker-compose.yml insists on", () => {
    expect(Object.keys(secrets).toSorted()).toEqual([...asked].toSorted());
  });

  test("have no default: without one nothing starts, and the answer says what to do", () => {
    for (const name of asked) {
      const without = { ...secrets, [name]: "" };
      expect(() =>
        Object.keys(compose.services).map((one) => [
          environmentOf(one, without),
          service(one).command.map((part) => interpolate(part, without)),
        ]),
      ).toThrow(`${name}: run "npm run secrets"`);
    }
  });

  test("are new each time, and need no escaping in a URL or an .env file", async () => {
    const other = await makeSecrets();
    for (const [name, value] of Object.entries(secrets)) {
      expect(other[name]).not.toBe(value);
      expect(value).toMatch(/_(PRIVATE|PUBLIC)_KEY$/.test(name) ? /^\{[\w":,-]+\}$/ : /^[\w-]{43}$/);
    }
  });

  test("are written once, for their owner's eyes, and never written over", async () => {
    await using directory = await mkdtempDisposable(join(tmpdir(), "continuo-secrets-"));
    expect(runSecrets(directory.path).status).toBe(0);
    const written = readSecrets(directory.path);
    expect(statSync(join(directory.path, ".env")).mode & 0o777).toBe(0o600);
    expect(runSecrets(directory.path)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("There is an .env already"),
    });
    expect(readSecrets(directory.path)).toEqual(written);
  });
});

describe("the image", () => {
  const dockerfile = read("Dockerfile");

  test("is made with the pnpm that the workspace is made with, and runs on its Node", () => {
    const pnpm = /"(pnpm@[\d.]+)"/.exec(read("setup/install.mjs"))?.[1];
    expect(dockerfile).toContain(`npm install --global ${pnpm}\n`);
    expect([...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)).toEqual([
      "node:24-bookworm-slim",
      "node:24-bookworm-slim",
    ]);
    expect(read("pnpm-workspace.yaml")).toMatch(/^ {2}node: 24\./m);
  });

  test("holds the dependencies of every process in it", () => {
    const rooms = new Set(Object.values(OURS).map(({ runs }) => runs.split("/")[0] ?? ""));
    expect(rooms).toEqual(new Set(["packages", "services", "gateway"]));
    // Both filters include dependencies, and migrate is in one of these.
    expect(dockerfile).toContain(`--filter "{./services/**}..." --filter @continuo/gateway...`);
  });

  test("runs as a user without rights, and takes no secrets or leftovers in", () => {
    expect(dockerfile.trimEnd().split("\n").at(-1)).toBe("USER node");
    const ignored = read(".dockerignore").split("\n");
    for (const path of [".env", ".git", ".data", "**/node_modules", "**/generated"]) expect(ignored).toContain(path);
  });
});
