// @apollo/gateway reports usage to its maker unless told not to. Imported before it, so that it never does.
process.env["APOLLO_TELEMETRY_DISABLED"] = "true";
