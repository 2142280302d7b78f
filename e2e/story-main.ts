/**
 * `npm run story [-- url …]`: tells the story against a running system (default: the one that `npm start` runs), line by line.
 */
import { tellStory } from "./story.ts";

const urls = process.argv.slice(2).map((url) => url.replace(/\/+$/, ""));
const gateways = [urls[0] ?? "http://127.0.0.1:4000", ...urls.slice(1)] as const;
const startedAt = performance.now();

try {
  await fetch(`${gateways[0]}/live`).catch((cause: unknown) => {
    throw new Error(`nothing answers at ${gateways[0]}: run npm start in another terminal`, { cause });
  });
  await tellStory({
    gateways,
    narrate: ({ text, milliseconds }) =>
      console.log(`  ✓ ${text.padEnd(100)} ${milliseconds.toFixed(0).padStart(6)} ms`),
  });
  console.log(`\nThe story holds: ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
} catch (cause) {
  console.error(`\n  ✗ The story breaks off: ${cause instanceof Error ? cause.message : String(cause)}`);
  process.exitCode = 1;
}
