/**
 * Where the events of each subscription come from: a query of the same owner that reads after a cursor, and the topic
 * that says when to read again. A new subscription is a field and its query in the owner's graph, and a line here.
 */
import type { Viewer } from "@continuo/access";
import { activityTopic, devicesTopic, relayTopic, stateTopic } from "@continuo/signals";

export interface Source {
  /** The owner's query: the same result type and arguments, with `since`, `to` and `hasMore`. */
  readonly query: string;
  /** The topic whose pokes say that the viewer's cursor may be behind. */
  readonly topic: (viewer: Viewer) => string;
}

/** By the name of the subscription's root field. */
export type Sources = Readonly<Record<string, Source>>;

export const SOURCES: Sources = {
  stateChanges: { query: "pullState", topic: ({ userId }) => stateTopic(userId) },
  activityChanged: { query: "activityChanges", topic: ({ userId }) => activityTopic(userId) },
  deviceChanged: { query: "deviceChanges", topic: ({ userId }) => devicesTopic(userId) },
};

/** Where the events come from of which nothing is kept: the owner's query that opens them, and the topic they are relayed on. */
export interface RelaySource {
  /** The owner's query: the same result type and arguments, and `sealed: [String!]!`. A list. */
  readonly query: string;
  readonly topic: (viewer: Viewer) => string;
}

/** By the name of the subscription's root field. */
export type RelaySources = Readonly<Record<string, RelaySource>>;

export const RELAY_SOURCES: RelaySources = {
  relayedChanges: { query: "relayedChanges", topic: ({ userId }) => relayTopic(userId) },
};
