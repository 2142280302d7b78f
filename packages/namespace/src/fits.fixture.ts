/** For tests: a JSON Schema validator. */
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Fits } from "./narrowing.ts";

const ajv = new Ajv2020({ strict: false, addUsedSchema: false, validateFormats: false });

export const fits: Fits = (schema, value) => ajv.validate(schema, value);
