/**
 * `npm run simulate [-- --seeds 10000] [--from 1] [--steps 300] [--defect NO_DEDUPE]`: runs simulated worlds and
 * reports which promises broke in which world. Exits with 1 if any did.
 */
import { parseArgs } from "node:util";
import { DEFECTS } from "./simulation/defects.ts";
import { search } from "./simulation/search.ts";

const SHOWN = 10;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    steps: { type: "string", default: "300" },
    defect: { type: "string" },
  },
});

function wholeNumber(name: "seeds" | "from" | "steps"): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value > 0) return value;
  throw new RangeError(`--${name} is a whole number above 0`);
}

try {
  const defect = DEFECTS.find((each) => each === values.defect);
  if (values.defect !== undefined && defect === undefined)
    throw new RangeError(`--defect is one of ${DEFECTS.join(", ")}`);
  const begun = performance.now();
  const { violations, totals } = await search({
    from: wholeNumber("from"),
    seeds: wholeNumber("seeds"),
    steps: wholeNumber("steps"),
    defect,
    progress: (worlds) => {
      if (worlds % 500 === 0) console.log(`${worlds} worlds, ${Math.round((performance.now() - begun) / 1_000)} s`);
    },
  });
  console.log(
    Object.entries(totals)
      .map(([name, count]) => `${name} ${count}`)
      .join(" · "),
  );
  for (const { seed, message } of violations.slice(0, SHOWN)) console.error(`seed ${seed}: ${message.slice(0, 2_000)}`);
  console.log(`${violations.length} worlds with a broken promise`);
  process.exitCode = violations.length > 0 ? 1 : 0;
} catch (cause) {
  console.error(cause instanceof Error ? cause.message : cause);
  process.exitCode = 2;
}
