/** For tests: a person's devices that publish activities and take over from each other. */
import { createReplica, type GraphAnswer, type Replica, type System } from "../system.fixture.ts";

export interface LeaseAnswer {
  readonly fence: number;
  readonly state: string;
  readonly expiresAt: string;
}

export interface ActivityAnswer {
  readonly id: string;
  readonly kind: string;
  readonly title: string;
  readonly uris: { readonly platform: string; readonly uri: string }[];
  readonly namespace: string;
  readonly key: string;
  readonly field: string;
  readonly device: { readonly id: string };
  readonly at: string;
  readonly expiresAt: string;
  readonly endedAt: string | null;
  readonly lease: LeaseAnswer | null;
}

export interface TakenOver {
  readonly fence: number;
  readonly flushed: string;
  readonly activity: ActivityAnswer;
  readonly entry: { readonly value: { readonly answer: { readonly position: number } | null } | null } | null;
}

interface PointAnswer {
  readonly device: { readonly id: string };
  readonly position: number;
  readonly intent: string;
  readonly ageMs: number;
}

export interface ResumeAnswer {
  readonly ageMs: number;
  readonly device: { readonly id: string };
  readonly activity: { readonly id: string; readonly title: string; readonly lease: LeaseAnswer | null };
  readonly point: PointAnswer | null;
  readonly alternatives: PointAnswer[];
  readonly entry: {
    readonly value: unknown;
    readonly kind: string;
    readonly field: string;
    readonly rev: number;
  } | null;
}

export interface ChangesAnswer {
  readonly from: string | null;
  readonly to: string;
  readonly hasMore: boolean;
  readonly activities: ActivityAnswer[];
}

const LEASE = "lease { fence state expiresAt }";
const ACTIVITY = `{ id kind title uris { platform uri } namespace key field device { id } at expiresAt endedAt ${LEASE} }`;
const POINT = "{ device { id } position intent ageMs }";

const PUBLISH = `mutation ($input: PublishActivityInput!) { publishActivity(input: $input) ${ACTIVITY} }`;
const END = `mutation ($id: ID!) { endActivity(id: $id) ${ACTIVITY} }`;
const TAKE_OVER = `mutation ($id: ID!, $force: Boolean! = false) {
  takeOver(activityId: $id, force: $force) { fence flushed activity ${ACTIVITY} entry { value } } }`;
const CONFIRM = `mutation ($id: ID!, $fence: Int!) { confirmFlush(activityId: $id, fence: $fence) ${ACTIVITY} }`;
const CHANGES = `query ($since: String, $first: Int! = 100) {
  activityChanges(since: $since, first: $first) { from to hasMore activities ${ACTIVITY} } }`;
const RESUME = `query ($people: [_Any!]!) { _entities(representations: $people) { ... on User { resume {
  ageMs device { id } activity { id title ${LEASE} } point ${POINT} alternatives ${POINT}
  entry { value kind field rev } } } } }`;

/** A user's well-behaved device. */
export interface Player {
  readonly replica: Replica;
  readonly deviceId: string;
  sibling(): Player;
  publish(about?: object): Promise<ActivityAnswer>;
  sendPublish(about?: object): Promise<GraphAnswer<{ publishActivity: ActivityAnswer }>>;
  end(id: string): Promise<GraphAnswer<{ endActivity: ActivityAnswer }>>;
  takeOver(id: string, options?: { force?: boolean }): Promise<TakenOver>;
  sendTakeOver(id: string): Promise<GraphAnswer<{ takeOver: TakenOver }>>;
  confirm(id: string, fence: number): Promise<GraphAnswer<{ confirmFlush: ActivityAnswer }>>;
  changes(since?: string, first?: number): Promise<ChangesAnswer>;
  sendChanges(since?: string): Promise<GraphAnswer<{ activityChanges: ChangesAnswer }>>;
  resume(ofUser?: string): Promise<ResumeAnswer[]>;
  /** Reports progress on the unit; `fence` of its lease, if it has one. */
  report(position: number, options?: { intent?: string; fence?: number; unit?: object }): Promise<string>;
}

export const FILM = { namespace: "media", key: "dune", field: "position" };

/** Adds namespaces with progress and drafts, one per resume policy. */
export async function addMedia({ admin }: System): Promise<void> {
  for (const [name, resume] of [
    ["media", "LATEST_INTENT"],
    ["books", "FURTHEST"],
    ["courses", "ASK"],
  ])
    await admin.query(
      `INSERT INTO user_state.namespaces (name, version, kinds, schema, policy, persistence, created_at)
       VALUES ($1, 1, '{"position": "PROGRESS", "note": "DRAFT", "page": "REGISTER"}', '{}', $2, 'DURABLE', now())`,
      [name, JSON.stringify({ resume })],
    );
}

/** Creates a player, of a new user unless `replica` is given. */
export function createPlayer(system: System, replica: Replica = createReplica(system)): Player {
  const { caller } = replica;
  const { userId, deviceId } = caller.viewer;
  const startedAt = Date.now();
  let seq = 0;

  async function dataOf<Data>(answer: Promise<GraphAnswer<Data>>): Promise<Data> {
    const { data, errors, text } = await answer;
    if (data == null || errors !== undefined) throw new Error(text);
    return data;
  }

  const player: Player = {
    replica,
    deviceId,
    sibling: () => createPlayer(system, replica.sibling()),
    sendPublish: (about) => {
      const input = {
        kind: "watch",
        title: "Dune",
        uris: [{ platform: "web", uri: "https://films.example.com/dune" }],
        ...FILM,
        stamp: { ms: startedAt, counter: 0 },
        clientNow: Date.now(),
        ...about,
      };
      return system.ask(caller, PUBLISH, { input });
    },
    publish: async (about) => (await dataOf(player.sendPublish(about))).publishActivity,
    end: (id) => system.ask(caller, END, { id }),
    sendTakeOver: (id) => system.ask(caller, TAKE_OVER, { id }),
    takeOver: async (id, { force = false } = {}) =>
      (await dataOf(system.ask<{ takeOver: TakenOver }>(caller, TAKE_OVER, { id, force }))).takeOver,
    confirm: (id, fence) => system.ask(caller, CONFIRM, { id, fence }),
    sendChanges: (since) => system.ask(caller, CHANGES, { since }),
    changes: async (since, first = 100) =>
      (await dataOf(system.ask<{ activityChanges: ChangesAnswer }>(caller, CHANGES, { since, first }))).activityChanges,
    resume: async (ofUser = userId) => {
      const people = [{ __typename: "User", id: ofUser }];
      const { _entities } = await dataOf(
        system.ask<{ _entities: ({ resume: ResumeAnswer[] } | null)[] }>(caller, RESUME, { people }),
      );
      const [person] = _entities;
      if (person == null) throw new Error("nobody");
      return person.resume;
    },
    report: async (position, { intent = "PLAY", fence, unit = FILM } = {}) => {
      seq += 1;
      const lease = fence === undefined ? {} : { fence };
      const payload = { type: "REPORT", epoch: 0, position, duration: 7_000, unit: "SECONDS", intent, ...lease };
      const { headRev } = await replica.pull();
      const { outcomes } = await replica.push({ baseRev: headRev, ops: [{ seq, ...FILM, ...unit, payload }] });
      return outcomes[0]?.status ?? "";
    },
  };
  return player;
}
