/**
 * What `npm run continuo` runs: one operator command, on the installation that the environment names, or else on this folder's.
 */
import { runOperator as runOfIdentity } from "@continuo/identity/operator";
import { interruptible } from "@continuo/operator";
import { runOperator as runOfSession } from "@continuo/session/operator";
import { operatorEnvironment } from "./operator.ts";

/** The nouns that identity handles; session handles all others. */
const OF_IDENTITY: ReadonlySet<string | undefined> = new Set(["users"]);

const argv = process.argv.slice(2);
const noun = argv.find((word) => !word.startsWith("-"));
process.exitCode = await interruptible((signal) =>
  OF_IDENTITY.has(noun)
    ? runOfIdentity(argv, { signal, source: () => operatorEnvironment(process.env, "identity") })
    : runOfSession(argv, { signal, source: () => operatorEnvironment(process.env) }),
);
if (noun === undefined || noun === "help")
  process.stdout.write("\nBeside these: users, who may sign in. npm run continuo -- users --help\n");
