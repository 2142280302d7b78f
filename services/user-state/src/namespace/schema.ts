/** Validates values by JSON Schema: compiled once per field of a definition, with the paths of faults. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import formatsPlugin from "ajv-formats";
import type { Json } from "@continuo/merge";
import type { FieldDefinition, Fits, JsonSchema } from "@continuo/namespace";

/** Why a value is invalid. */
export interface SchemaFault {
  /** `.address.street`, `.tags[0]`; empty for the value itself. */
  readonly path: string;
  /** `must be string`. */
  readonly why: string;
}

const ajv = new Ajv2020({ strict: false, addUsedSchema: false, logger: false });
formatsPlugin.default(ajv);

const compiled = new WeakMap<FieldDefinition, ValidateFunction>();

/** Why the field does not take `value`; undefined when it does. */
export function faultIn(field: FieldDefinition, value: Json): SchemaFault | undefined {
  let takes = compiled.get(field);
  if (takes === undefined) compiled.set(field, (takes = compile(field.schema)));
  return takes(value) ? undefined : faultOf(takes.errors ?? []);
}

/** Whether `value` is valid under a schema that is used only once. */
export const fits: Fits = (schema, value) => compile(schema)(value);

/** Compiles a schema. Throws Error for anything but JSON Schema draft 2020-12 without references to other documents. */
export function compile(schema: JsonSchema): ValidateFunction {
  const own = { ...schema };
  const validate = ajv.compile(own);
  // Ajv would otherwise keep every compiled schema as long as it lives.
  ajv.removeSchema(own);
  return validate;
}

/** The deepest error: among several alternatives, the one that matched furthest. */
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
