/** An operation through the gateway, beside the floor, which does it by hand, and beside its statement alone over `pg`. */
import { openContender, type Contender, type Effort } from "../contender.ts";
import type { Subject } from "../subject.ts";
import type { Floor } from "../yardsticks/open-floor.ts";

interface DatabasePath {
  readonly subject: Subject;
  readonly effort: Effort;
  readonly floor: Floor;
  readonly stack: AsyncDisposableStack;
  /** The driver of the two HTTP contenders, and each one's options without the URL. */
  readonly driver: string;
  readonly ours: object;
  readonly floors: object;
  /** Options of `raw-statements` without the database URL. */
  readonly statements: object;
}

export async function openDatabasePath(path: DatabasePath): Promise<Contender[]> {
  const { subject, effort, floor, stack, driver } = path;
  const { workers } = effort;
  const turn = { workers, bound: { seconds: effort.seconds } };
  return [
    stack.use(
      await openContender(subject, {
        ...turn,
        name: "continuo",
        driver,
        options: { ...path.ours, url: subject.graphqlUrl },
        processes: subject.processes,
      }),
    ),
    stack.use(
      await openContender(subject, {
        ...turn,
        name: "node:http + pg",
        driver,
        options: { ...path.floors, url: floor.url },
        processes: { server: [floor.pid] },
      }),
    ),
    stack.use(
      await openContender(subject, {
        ...turn,
        name: "pg alone",
        driver: "raw-statements",
        options: { ...path.statements, databaseUrl: subject.databaseUrl },
      }),
    ),
  ];
}
