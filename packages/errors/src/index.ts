export { AppError, isAppError, type AppErrorOptions } from "./app-error.ts";
export { ERROR_CODES, HTTP_STATUS, outcomeOf, type ErrorCode } from "./codes.ts";
export { toOAuthRefusal, type OAuthErrorCode, type OAuthRefusal } from "./oauth.ts";
