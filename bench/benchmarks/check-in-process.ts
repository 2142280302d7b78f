import { openContender, type Benchmark, type Contender } from "../contender.ts";
import { openGraphQLClient } from "../drivers/graphql-client.ts";
import { startSessions } from "../people.ts";

const ENDED = 10_000;

/** The cost of a check without HTTP: a token seen before, its session looked up among recently ended ones. */
export const checkInProcess: Benchmark = {
  name: "check-in-process",
  what: ({ workers }) => `${workers} known tokens checked in one process, ${ENDED} sessions ended lately`,
  async open(subject, effort, stack) {
    const { workers, seconds } = effort;
    await using client = openGraphQLClient(subject.graphqlUrl, workers);
    const signedIn = (await startSessions(client, subject, { people: workers, sessionsEach: 1 })).flat();
    const tokens = signedIn.map(({ accessToken }) => accessToken);
    const keySet = await (await fetch(subject.keySetUrl)).text();
    const contender = async (name: string, by: "ADMISSION" | "JOSE"): Promise<Contender> => {
      const options = { by, tokens, keySet, ended: ENDED };
      const bound = { seconds };
      return stack.use(await openContender(subject, { name, driver: "in-process-check", options, workers, bound }));
    };
    return [await contender("continuo", "ADMISSION"), await contender("jose, each time", "JOSE")];
  },
};
