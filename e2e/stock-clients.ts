/**
 * How stock clients follow a person's state whatever happens to their connections: each subscribes after the cursor of
 * what it has, and again whenever that ends. The clients' own retries would repeat the first cursor, so they are off.
 */
import { ApolloClient, type ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { Client as UrqlClient, type Exchange, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createSseClient } from "graphql-sse";
import { type Client as WsClient, createClient as createWsClient } from "graphql-ws";
import { randomInt } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { onEnd, pipe, subscribe } from "wonka";
import { STATE_CHANGES } from "./operations.ts";

/** Subscribes once; the returned function unsubscribes. */
type Subscribe = (variables: { readonly since: string | null }, on: Events) => () => void;

interface Events {
  readonly next: (data: unknown) => void;
  /** The subscription has ended or failed. */
  readonly over: () => void;
}

interface Access {
  /** The gateway's base URL. */
  readonly url: string;
  readonly accessToken: () => string;
}

const { text: query } = STATE_CHANGES;
const authorizationOf = ({ accessToken }: Access): { authorization: string } => ({
  authorization: `Bearer ${accessToken()}`,
});

const graphqlWs = (access: Access): WsClient =>
  createWsClient({
    url: `${access.url.replace(/^http/, "ws")}/graphql`,
    connectionParams: () => authorizationOf(access),
    retryAttempts: 0,
  });

const graphqlSse =
  (singleConnection: boolean) =>
  (access: Access): Subscribe => {
    const client = createSseClient({
      url: `${access.url}/graphql/stream`,
      headers: () => authorizationOf(access),
      singleConnection,
      retryAttempts: 0,
    });
    return (variables, { next, over }) =>
      client.subscribe({ query, variables }, { next: ({ data }) => next(data), error: over, complete: over });
  };

function apollo(link: ApolloLink): Subscribe {
  const client = new ApolloClient({ cache: new InMemoryCache(), link });
  return (variables, { next, over }) => {
    const events = client.subscribe({ query: gql(query), variables, fetchPolicy: "no-cache" });
    const subscription = events.subscribe({
      next: ({ data, error }) => (error ? over() : next(data)),
      error: over,
      complete: over,
    });
    return () => subscription.unsubscribe();
  };
}

function urql(url: string, exchange: Exchange, fetchOptions?: () => RequestInit): Subscribe {
  const client = new UrqlClient({
    url,
    exchanges: [exchange],
    preferGetMethod: false,
    ...(fetchOptions && { fetchOptions, fetchSubscriptions: true }),
  });
  return (variables, { next, over }) => {
    const subscription = pipe(
      client.subscription(query, variables),
      onEnd(over),
      // Over HTTP, urql's last result repeats the one before.
      subscribe(({ data, error, hasNext }) => (error || !hasNext ? over() : next(data))),
    );
    return () => subscription.unsubscribe();
  };
}

export const STOCK_CLIENTS: Readonly<Record<string, (access: Access) => Subscribe>> = {
  "graphql-ws": (access) => {
    const client = graphqlWs(access);
    return (variables, { next, over }) =>
      client.subscribe({ query, variables }, { next: ({ data }) => next(data), error: over, complete: over });
  },
  "graphql-sse, distinct connections": graphqlSse(false),
  "graphql-sse, a single connection": graphqlSse(true),
  "Apollo Client over graphql-ws": (access) => apollo(new GraphQLWsLink(graphqlWs(access))),
  "Apollo Client over HTTP": (access) =>
    apollo(
      new HttpLink({
        uri: `${access.url}/graphql`,
        fetch: (uri, init = {}) =>
          fetch(uri, { ...init, headers: { ...Object(init.headers), ...authorizationOf(access) } }),
      }),
    ),
  "urql over graphql-ws": (access) => {
    const client = graphqlWs(access);
    const forward = subscriptionExchange({
      forwardSubscription: ({ query = "", variables = {} }) => ({
        subscribe: (sink) => ({
          unsubscribe: client.subscribe(
            { query, variables },
            {
              next: ({ data = null, errors }) => sink.next({ data, ...(errors && { errors }) }),
              error: (cause) => sink.error(cause),
              complete: () => sink.complete(),
            },
          ),
        }),
      }),
    });
    return urql("unused", forward);
  },
  "urql over HTTP": (access) =>
    urql(`${access.url}/graphql`, fetchExchange, () => ({ headers: authorizationOf(access) })),
};

export interface Follower {
  /** `namespace/key/field` of each change, in order of arrival. */
  readonly seen: readonly string[];
  /** Batches that do not continue the one before. */
  readonly faults: readonly string[];
  /** How often it subscribed again. */
  readonly resumed: () => number;
  readonly stop: () => Promise<void>;
}

/** Follows the state until stopped. */
export function follow(subscribe: Subscribe): Follower {
  const seen: string[] = [];
  const faults: string[] = [];
  const stopping = new AbortController();
  let cursor: string | null = null;
  let resumed = -1;

  function take(data: unknown): void {
    const { from, to, entries } = STATE_CHANGES.data.parse(data).stateChanges;
    if (from !== cursor) faults.push(`a batch from ${from} after ${cursor}`);
    seen.push(...entries.map(({ namespace, key, field }) => `${namespace}/${key}/${field}`));
    cursor = to;
  }

  async function once(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let isOver = false;
    const over = (): void => {
      isOver = true;
      resolve();
    };
    stopping.signal.addEventListener("abort", over);
    const stop = subscribe({ since: cursor }, { next: (data) => void (isOver || take(data)), over });
    await promise;
    stopping.signal.removeEventListener("abort", over);
    stop();
  }

  const following = (async () => {
    while (!stopping.signal.aborted) {
      resumed += 1;
      await once();
      await delay(50 + randomInt(100));
    }
  })();
  return {
    seen,
    faults,
    resumed: () => resumed,
    stop() {
      stopping.abort();
      return following;
    },
  };
}
