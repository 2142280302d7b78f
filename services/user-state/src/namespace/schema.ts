/** Values judged by JSON Schema: compiled once for each field of a definition, told apart by path. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import formatsPlugin from "ajv-formats";
import type { Json } from "@continuo/merge";
import type { FieldDefinition, Fits, JsonSchema } from "@continuo/namespace";

/** What keeps a value from being valid. */
export interface SchemaFault {
  /** `.address.street`, `.tags[0]`; empty for the value itself. */
  readonly path: string;
  /** `must be string`. */
  readonly why: string;
}

const ajv = new Ajv2020({ strict: false, addUsedSchema: false, logger: false });
formatsPlugin.default(ajv);

const compiled = new WeakMap<FieldDefinition, ValidateFunction>();

/** Why `value` is not what the field takes; undefined when it is. */
export function faultIn(field: FieldDefinition, value: Json): SchemaFault | undefined {
  let takes = compiled.get(field);
  if (takes === undefined) compiled.set(field, (takes = compile(field.schema)));
  return takes(value) ? undefined : faultOf(takes.errors ?? []);
}

/** Whether `value` is valid under a schema that is looked at once. */
export const fits: Fits = (schema, value) => compile(schema)(value);

/** Throws Error for what is no JSON Schema of draft 2020-12, or refers to another document. */
export function compile(schema: JsonSchema): ValidateFunction {
  const own = { ...schema };
  const validate = ajv.compile(own);
  // It would keep whatever it compiled as long as it lives.
  ajv.removeSchema(own);
  return validate;
}

/** The deepest of them: of several alternatives, the one that came furthest. */
function faultOf(errors: readonly ErrorObject[]): SchemaFault {
  const depth = ({ instancePath }: ErrorObject): number => instancePath.split("/").length;
  const [error] = errors.toSorted((one, other) => depth(other) - depth(one));
  if (error === undefined) return { path: "", why: "is not valid" };
  const { instancePath, params, message = "is not valid" } = error;
  const parts = instancePath.split("/").slice(1);
  const names = parts.map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const path = names.map((name) => (/^\d+$/.test(name) ? `[${name}]` : `.${name}`)).join("");
  if (typeof params["additionalProperty"] === "string")
    return { path: `${path}.${params["additionalProperty"]}`, why: "is not a member" };
  if (Array.isArray(params["allowedValues"]))
    return { path, why: `${message}: ${JSON.stringify(params["allowedValues"])}` };
  return { path, why: message };
}
