-- What a PostgreSQL server of Azure has and a plain one lacks: roles that stand for Entra principals.
-- Functions of the documented names, arguments and result columns (learn.microsoft.com/azure/postgresql,
-- "Manage Microsoft Entra roles"). Where Azure keeps a security label, here is a table. Run by a superuser in
-- the database postgres; repeating it changes nothing.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'azure_pg_admin') THEN
    CREATE ROLE azure_pg_admin NOLOGIN;
  END IF;
END $$;
CREATE SCHEMA IF NOT EXISTS entra_stand_in;
CREATE TABLE IF NOT EXISTS entra_stand_in.principals (
  rolename name PRIMARY KEY, kind text NOT NULL, objectid text NOT NULL, isadmin boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS entra_stand_in.tokens (objectid text PRIMARY KEY, token text NOT NULL);

-- A role signs in with the last token of its principal, whichever came first.
CREATE OR REPLACE FUNCTION entra_stand_in.accept(objectid text, token text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE found name;
BEGIN
  PERFORM pg_advisory_xact_lock(7147);
  INSERT INTO entra_stand_in.tokens AS t VALUES (lower($1), $2)
    ON CONFLICT ON CONSTRAINT tokens_pkey DO UPDATE SET token = excluded.token;
  FOR found IN SELECT p.rolename FROM entra_stand_in.principals p JOIN pg_roles r ON r.rolname = p.rolename
                WHERE lower(p.objectid) = lower($1) LOOP
    EXECUTE format('ALTER ROLE %I PASSWORD %L', found, $2);
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION pg_catalog.pgaadauth_create_principal_with_oid(
  rolename text, objectid text, objecttype text, isadmin boolean, ismfa boolean
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE caller text := session_user; known text;
BEGIN
  IF NOT (pg_has_role(caller, 'azure_pg_admin', 'MEMBER')) THEN
    RAISE EXCEPTION 'permission denied to create a principal' USING ERRCODE = '42501';
  END IF;
  IF objecttype NOT IN ('user', 'group', 'service') OR objectid !~ '^[0-9a-fA-F-]{36}$' THEN
    RAISE EXCEPTION 'invalid principal' USING ERRCODE = '22023';
  END IF;
  EXECUTE format('CREATE ROLE %I LOGIN', rolename);
  IF isadmin THEN
    EXECUTE format('ALTER ROLE %I CREATEROLE CREATEDB', rolename);
    EXECUTE format('GRANT azure_pg_admin TO %I', rolename);
  END IF;
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', rolename, caller);
  END IF;
  DELETE FROM entra_stand_in.principals p WHERE p.rolename = $1;
  INSERT INTO entra_stand_in.principals VALUES ($1, $3, $2, $4);
  SELECT t.token INTO known FROM entra_stand_in.tokens t WHERE t.objectid = lower($2);
  IF known IS NOT NULL THEN
    EXECUTE format('ALTER ROLE %I PASSWORD %L', rolename, known);
  END IF;
  RETURN 'Created role for ' || rolename;
END $$;

CREATE OR REPLACE FUNCTION pg_catalog.pgaadauth_list_principals(isadminvalue boolean)
  RETURNS TABLE (rolename name, principaltype text, objectid text, tenantid text, ismfa integer, isadmin integer)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT p.rolename, p.kind, p.objectid, '', 0, p.isadmin::int FROM entra_stand_in.principals p
    JOIN pg_roles r ON r.rolname = p.rolename
   WHERE p.isadmin OR NOT $1
$$;
