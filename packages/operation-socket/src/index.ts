/**
 * Queries and mutations of many callers over one socket, from a gateway to a subgraph: GraphQL over WebSocket
 * (graphql-transport-ws, https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). Each operation's headers
 * travel in the `extensions` of its `subscribe`. Many messages share one write and one read; over HTTP each costs two
 * system calls on either side, and its framing.
 */
export { openOperationSockets, SocketLost, type OperationSockets } from "./client.ts";
export { acceptOperations, type AcceptedOperation, type OperationRoute } from "./server.ts";
