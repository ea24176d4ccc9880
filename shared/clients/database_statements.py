"""The SQL that makes users of a PostgreSQL server and grants them rights: texts, and how names get in.

No name is ever put into a text here. Values are bound as parameters; where SQL wants an identifier the
server itself quotes it (``format`` with ``%I``, postgresql.org, "String Functions"). Every name that is not
the user's own is looked up in ``pg_catalog`` alone: whoever may make functions in a database that the app
signs in to must not be able to have the app run them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SETTINGS = {
    "application_name": "mooring",
    "search_path": "pg_catalog",
    "statement_timeout": "20000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "30000",
}
"""Of every session; times in milliseconds. Nobody waits long behind a grant of ours."""

MAINTENANCE = "postgres"
"""The database in which Azure has the functions for Entra principals."""

USER = """
SELECT r.rolname, r.rolcanlogin, coalesce(d.description, '') AS mark,
       coalesce((SELECT lower(p.objectid) FROM pg_catalog.pgaadauth_list_principals(false)
                        AS p(rolename, kind, objectid, tenantid, ismfa, isadmin)
                  WHERE p.rolename = r.rolname), '') AS object_id,
       ARRAY(SELECT DISTINCT coalesce(b.datname, '')::text FROM pg_shdepend s
                    LEFT JOIN pg_database b ON b.oid = s.dbid
              WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'
              ORDER BY 1) AS owns_in
  FROM pg_roles r
  LEFT JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
 WHERE r.rolname = $1::text
"""
"""A user. Who owns what in which database stands in a catalogue that all databases share."""

MARK = """
SELECT coalesce(d.description, '') FROM pg_roles r
  LEFT JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass
 WHERE r.rolname = $1::text
"""
CREATE = "SELECT pg_catalog.pgaadauth_create_principal_with_oid($1::text, $2::text, 'service', false, false)"
"""learn.microsoft.com/azure/postgresql, "Manage Microsoft Entra roles"; the object id is taken as it is."""

RELATIONS = """
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'S' AS sequence,
       pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS ours
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
 ORDER BY 1, 2
"""
"""Tables, views and sequences of a schema; what an extension brought belongs to the extension."""

OWNER = """
SELECT pg_get_userbyid(b.datdba)::text FROM pg_database b
 WHERE b.datname = current_database() AND pg_has_role(b.datdba, 'USAGE')
"""
"""Who owns this database, if the app may act for it."""

GRANTED = """
SELECT 'relation' AS kind, n.nspname::text AS schema, c.relname::text AS name, '' AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE pg_has_role(c.relowner, 'USAGE') AND c.relowner <> to_regrole($1)::oid
   AND (EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = to_regrole($1)::oid)
     OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a
                 WHERE t.attrelid = c.oid AND a.grantee = to_regrole($1)::oid))
UNION ALL
SELECT 'schema', n.nspname::text, '', '' FROM pg_namespace n
 WHERE pg_has_role(n.nspowner, 'USAGE')
   AND EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = to_regrole($1)::oid)
UNION ALL
SELECT 'database', '', b.datname::text, '' FROM pg_database b
 WHERE b.datname = current_database() AND pg_has_role(b.datdba, 'USAGE')
   AND EXISTS (SELECT FROM aclexplode(b.datacl) a WHERE a.grantee = to_regrole($1)::oid)
UNION ALL
SELECT CASE f.defaclobjtype WHEN 'r' THEN 'tables' ELSE 'sequences' END,
       n.nspname::text, '', pg_get_userbyid(f.defaclrole)::text
  FROM pg_default_acl f JOIN pg_namespace n ON n.oid = f.defaclnamespace
 WHERE f.defaclobjtype IN ('r', 'S') AND pg_has_role(f.defaclrole, 'USAGE')
   AND EXISTS (SELECT FROM aclexplode(f.defaclacl) a WHERE a.grantee = to_regrole($1)::oid)
"""
"""Where in this database a user (quoted) has been granted something that the app can revoke.

What an owner has on its own tables stands among the grants too, and is left: it could not read them else."""

_DEFAULTS = "ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I REVOKE ALL ON"
REVOKE = {
    "schema": ("REVOKE ALL ON SCHEMA %I FROM %I", ("schema",)),
    "database": ("REVOKE ALL ON DATABASE %I FROM %I", ("name",)),
    "tables": (f"{_DEFAULTS} TABLES FROM %I", ("owner", "schema")),
    "sequences": (f"{_DEFAULTS} SEQUENCES FROM %I", ("owner", "schema")),
}
"""How to take back each kind of ``GRANTED`` but relations: a template, and the columns that go into it."""

BEYOND = """
SELECT DISTINCT a.privilege_type || ' on ' || format('%s.%s', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
 WHERE a.grantee = to_regrole($1)::oid
   AND NOT a.privilege_type = ANY (CASE WHEN c.relkind = 'S' THEN $3::text[] ELSE $2::text[] END)
UNION
SELECT a.privilege_type || ' on database ' || b.datname FROM pg_database b, aclexplode(b.datacl) a
 WHERE b.datname = current_database() AND a.grantee = to_regrole($1)::oid
   AND NOT a.privilege_type = ANY ($4::text[])
 ORDER BY 1 LIMIT 20
"""
LACKING = """
SELECT p || ' on database ' || current_database() FROM unnest($2::text[]) p
 WHERE NOT has_database_privilege($1::name, current_database(), p)
UNION ALL
SELECT p || ' on schema ' || n.nspname FROM pg_namespace n, unnest($3::text[]) p
 WHERE n.nspname = $6::text AND NOT has_schema_privilege($1::name, n.oid, p)
UNION ALL
SELECT p || ' on ' || format('%s.%s', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
       unnest(CASE WHEN c.relkind = 'S' THEN $5::text[] ELSE $4::text[] END) p
 WHERE n.nspname = $6::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
   AND NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege($1::name, c.oid, p)
                ELSE has_table_privilege($1::name, c.oid, p) END
 LIMIT 20
"""
"""What a user should be able to do and is not, by whatever way it could."""

_BATCH = 200


def quoted(name: str) -> str:
    """A name in a statement that a person is told to send: whoever made the role chose it.

    Source: postgresql.org, "Lexical Structure", quoted identifiers.
    """
    return '"' + name.replace('"', '""') + '"'


def on_relations(
    verb: str, privileges: str, kind: str, relations: Sequence[tuple[str, str]], name: str
) -> Iterable[tuple[str, list[str]]]:
    """Statements about many relations, a few hundred at a time, each with the names that go into it."""
    preposition = "TO" if verb == "GRANT" else "FROM"
    for start in range(0, len(relations), _BATCH):
        part = relations[start : start + _BATCH]
        places = ", ".join(["%I.%I"] * len(part))
        names = [one for relation in part for one in relation]
        yield f"{verb} {privileges} ON {kind} {places} {preposition} %I", [*names, name]
