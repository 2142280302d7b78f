export { createTestDatabase, testRolePasswords, type TestDatabase } from "./database.ts";
