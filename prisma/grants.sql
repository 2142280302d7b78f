-- Who may do what: each role its own schema and nothing else. Applied after every migration; running it again changes nothing.
-- A role never owns a table, so it can neither alter one nor grant rights to others.

DO $$
BEGIN
  EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO continuo_identity, continuo_session, continuo_user_state, continuo_gateway', current_database());
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT USAGE ON SCHEMA identity TO continuo_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity TO continuo_identity;

GRANT USAGE ON SCHEMA session TO continuo_session;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA session TO continuo_session;
-- Security events are added and read, never changed; their chain is the trigger's.
REVOKE UPDATE, DELETE ON session.auth_events FROM continuo_session;
REVOKE INSERT, UPDATE, DELETE ON session.auth_chains FROM continuo_session;
GRANT EXECUTE ON FUNCTION session.prune_auth_events(timestamptz, int) TO continuo_session;

GRANT USAGE ON SCHEMA user_state TO continuo_user_state;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA user_state TO continuo_user_state;
-- What is published stays as it was published.
REVOKE UPDATE, DELETE ON user_state.namespaces FROM continuo_user_state;

-- Queues without Redis: the services and their workers. Only those functions are BullMQ's, and they run with the caller's rights.
GRANT USAGE ON SCHEMA jobs TO continuo_identity, continuo_session, continuo_user_state;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO continuo_identity, continuo_session, continuo_user_state;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA jobs TO continuo_identity, continuo_session, continuo_user_state;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA jobs TO continuo_identity, continuo_session, continuo_user_state;

-- The ledger, so that a process can refuse to serve a database that is behind its code.
GRANT USAGE ON SCHEMA public TO continuo_identity, continuo_session, continuo_user_state;
GRANT SELECT ON public._prisma_migrations TO continuo_identity, continuo_session, continuo_user_state;

-- continuo_gateway connects, listens, and keeps what may be used once; it reads nothing of anybody else.
GRANT USAGE ON SCHEMA gateway TO continuo_gateway;
GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA gateway TO continuo_gateway;
