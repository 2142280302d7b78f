import type { CodegenConfig } from "@graphql-codegen/cli";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const services = join(import.meta.dirname, "services");
const Manifest = z.looseObject({ continuo: z.object({ models: z.record(z.string(), z.string()) }) });

/**
 * By service: GraphQL types whose resolvers return one of our own types, `Type: "file below src#Exported"`, from its
 * package.json.
 */
const MODELS = readdirSync(services).map((service) => {
  const manifest = readFileSync(join(services, service, "package.json"), "utf8");
  return [service, Manifest.parse(JSON.parse(manifest)).continuo.models] as const;
});

/** Typed resolvers for each subgraph, from its own `.graphql` files only. */
const config: CodegenConfig = {
  silent: true,
  generates: Object.fromEntries(
    MODELS.map(([service, models]) => [
      `services/${service}/src/generated/graphql.ts`,
      {
        schema: `services/${service}/src/**/*.graphql`,
        plugins: ["typescript", "typescript-resolvers"],
        config: {
          federation: true,
          useTypeImports: true,
          enumsAsTypes: true,
          avoidOptionals: { field: true, object: false, inputValue: false, defaultValue: false },
          contextType: "../context.ts#Context",
          mappers: Object.fromEntries(Object.entries(models).map(([type, from]) => [type, `../${from}`])),
          mapperTypeSuffix: "Model",
          scalars: {
            ID: "string",
            DateTime: { input: "string", output: "Date" },
            JSON: { input: "unknown", output: "unknown" },
            SafeInt: { input: "number", output: "number" },
          },
        },
      },
    ]),
  ),
};

export default config;
