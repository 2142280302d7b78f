export { createTestDatabase, testRolePasswords, type TestDatabase } from "./database.ts";
export { costOf, ONLY_LOOPS, type Cost, type Statement } from "./explain.ts";
export { startFaultProxy, targetOf, throughProxy, type FaultProxy } from "./fault-proxy.ts";
export { startHttpFaultProxy, type HttpFault, type HttpFaultProxy } from "./http-fault-proxy.ts";
export { findRedisServer, freePort, startRedisServer, type RedisServer } from "./redis.ts";
