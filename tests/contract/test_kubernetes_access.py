"""Who may do what, and service-account tokens, on the emulator as on a real API server."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
import pytest
from kubernetes.aio import client

from tests.contract.kubernetes_servers import Server, eventually, status_of

pytest_plugins = ("tests.contract.kubernetes_fixtures",)

EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
RBAC = "rbac.authorization.k8s.io"


def grant(cluster: Server, namespace: str, subject: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    path = f"/apis/{RBAC}/v1/namespaces/{namespace}"
    name = f"r-{uuid.uuid4().hex[:6]}"
    assert cluster.raw("POST", f"{path}/roles", {"metadata": {"name": name}, "rules": rules}).status == 201
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [subject],
    }
    assert cluster.raw("POST", f"{path}/rolebindings", binding).status == 201


def token_of(cluster: Server, namespace: str, account: str = "default", **spec: Any) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    answer = cluster.raw("POST", path, {"spec": {"audiences": [], **spec}})
    assert answer.status == 201, answer
    token: str = answer.body["status"]["token"]
    return token


def as_token(cluster: Server, token: str, method: str, path: str, body: Any = None) -> Any:
    return cluster.fetch(method, cluster.url + path, body, token)


SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}


def test_an_unknown_token_is_unauthorized(cluster: Server):
    answer = as_token(cluster, "nonsense", "GET", "/api/v1/namespaces")
    assert answer.status == 401
    assert answer.body["reason"] == "Unauthorized"


def test_nobody_is_forbidden_and_the_answer_says_what(cluster: Server):
    answer = as_token(cluster, "", "GET", "/api/v1/namespaces/default/secrets")
    assert answer.status == 403
    assert answer.body["reason"] == "Forbidden"
    assert answer.body["details"] == {"kind": "secrets"}
    assert "system:anonymous" in answer.body["message"]


def test_an_account_may_what_its_role_says_and_no_more(cluster: Server, namespace: str):
    grant(
        cluster, namespace, {"kind": "ServiceAccount", "name": "default", "namespace": namespace}, [SECRETS]
    )
    token = token_of(cluster, namespace)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    eventually(lambda: as_token(cluster, token, "GET", path).status == 200)
    assert as_token(cluster, token, "POST", path, {"metadata": {"name": "s"}}).status == 403
    assert as_token(cluster, token, "GET", "/api/v1/namespaces/default/secrets").status == 403
    assert as_token(cluster, token, "GET", "/api/v1/secrets").status == 403
    answer = as_token(cluster, token, "DELETE", f"{path}/s")
    assert answer.body["details"] == {"name": "s", "kind": "secrets"}


def test_resource_names_limit_a_rule(cluster: Server, namespace: str):
    rule = {**SECRETS, "resourceNames": ["one"], "verbs": ["get"]}
    grant(cluster, namespace, {"kind": "ServiceAccount", "name": "default", "namespace": namespace}, [rule])
    token = token_of(cluster, namespace)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    eventually(lambda: as_token(cluster, token, "GET", f"{path}/one").status == 404)
    assert as_token(cluster, token, "GET", f"{path}/two").status == 403


def test_an_access_review_answers_for_the_caller(cluster: Server, namespace: str):
    account = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    grant(cluster, namespace, account, [SECRETS])
    token = token_of(cluster, namespace)
    eventually(
        lambda: as_token(cluster, token, "GET", f"/api/v1/namespaces/{namespace}/secrets").status == 200
    )

    def may(verb: str) -> bool:
        asked = {"verb": verb, "resource": "secrets", "namespace": namespace}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        body = {"spec": {"resourceAttributes": asked}}
        answer = as_token(cluster, token, "POST", path, body)
        assert answer.status == 201
        return bool(answer.body["status"]["allowed"])

    assert may("list")
    assert not may("delete")


def test_nobody_grants_more_than_they_hold(cluster: Server, namespace: str):
    account = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    roles = {"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["create"]}
    grant(cluster, namespace, account, [SECRETS, roles])
    token = token_of(cluster, namespace)
    path = f"/apis/{RBAC}/v1/namespaces/{namespace}/roles"
    held = {"metadata": {"name": "held"}, "rules": [SECRETS]}
    eventually(lambda: as_token(cluster, token, "POST", path, held).status in {201, 409})
    more = {"metadata": {"name": "more"}, "rules": [{**SECRETS, "verbs": ["delete"]}]}
    assert as_token(cluster, token, "POST", path, more).status == 403


async def test_a_token_request_gives_claims_that_a_federated_credential_matches(
    cluster: Server, core: client.CoreV1Api, namespace: str
):
    await core.create_namespaced_service_account(namespace, {"metadata": {"name": "app"}})
    body = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[EXCHANGE_AUDIENCE], expiration_seconds=600)
    )
    made = await core.create_namespaced_service_account_token("app", namespace, body)
    assert made.status.expiration_timestamp is not None
    metadata = cluster.fetch("GET", f"{cluster.issuer}.well-known/openid-configuration")
    assert metadata.status == 200
    assert metadata.body["issuer"] == cluster.issuer
    keys = jwt.PyJWKSet.from_dict(cluster.fetch("GET", metadata.body["jwks_uri"]).body)
    header = jwt.get_unverified_header(made.status.token)
    claims = jwt.decode(
        made.status.token,
        keys[header["kid"]],
        algorithms=["RS256"],
        audience=EXCHANGE_AUDIENCE,
        issuer=cluster.issuer,
    )
    assert claims["aud"] == [EXCHANGE_AUDIENCE]
    assert claims["sub"] == f"system:serviceaccount:{namespace}:app"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["nbf"] <= time.time() + 1
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "app"
    assert claims["kubernetes.io"]["namespace"] == namespace


def test_an_exchange_token_is_no_login(cluster: Server, namespace: str):
    token = token_of(cluster, namespace, audiences=[EXCHANGE_AUDIENCE])
    assert as_token(cluster, token, "GET", "/api/v1/namespaces").status == 401


def test_a_token_of_less_than_ten_minutes_is_invalid(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    answer = cluster.raw("POST", path, {"spec": {"audiences": [], "expirationSeconds": 599}})
    assert answer.status == 422
    assert answer.body["details"]["causes"][0]["field"] == "spec.expirationSeconds"


async def test_a_token_for_a_missing_account_is_not_found(core: client.CoreV1Api, namespace: str):
    body = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[EXCHANGE_AUDIENCE]))
    with pytest.raises(client.ApiException) as refused:
        await core.create_namespaced_service_account_token("none", namespace, body)
    assert refused.value.status == 404
    assert status_of(refused.value)["details"]["kind"] == "serviceaccounts"


def test_the_token_of_a_deleted_account_is_refused(cluster: Server, namespace: str):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    cluster.raw("POST", path, {"metadata": {"name": "brief"}})
    token = token_of(cluster, namespace, "brief")
    cluster.raw("DELETE", f"{path}/brief")
    # A real server's authenticator remembers a token for some ten seconds.
    eventually(lambda: as_token(cluster, token, "GET", "/api").status == 401, seconds=20)


def test_an_entra_token_is_the_user_of_its_object_id(cluster: Server, namespace: str):
    oid = str(uuid.uuid4())
    token = cluster.entra.token(oid)
    path = f"/api/v1/namespaces/{namespace}/secrets"
    # A real server asks the issuer for its keys ten seconds after it started.
    eventually(lambda: as_token(cluster, token, "GET", path).status == 403, seconds=30)
    assert f'"{oid}"' in as_token(cluster, token, "GET", path).body["message"]
    grant(cluster, namespace, {"kind": "User", "apiGroup": RBAC, "name": oid}, [SECRETS])
    eventually(lambda: as_token(cluster, token, "GET", path).status == 200)


def test_an_entra_token_for_another_audience_or_out_of_time_is_refused(cluster: Server):
    fine = cluster.entra.token("someone")
    eventually(lambda: as_token(cluster, fine, "GET", "/api/v1/nodes").status != 401, seconds=30)
    other = cluster.entra.token("someone", "https://management.azure.com/")
    assert as_token(cluster, other, "GET", "/api").status == 401
    late = cluster.entra.token("someone", exp=int(time.time()) - 60)
    assert as_token(cluster, late, "GET", "/api").status == 401
    foreign = cluster.entra.token("someone", iss="https://elsewhere.example/")
    assert as_token(cluster, foreign, "GET", "/api").status == 401


def test_who_may_act_as_a_user_may_not_therefore_join_a_group(cluster: Server):
    name = f"actor-{uuid.uuid4().hex[:6]}"
    rule = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
    path = f"/apis/{RBAC}/v1"
    cluster.raw("POST", f"{path}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "apiGroup": RBAC, "name": name}],
    }
    cluster.raw("POST", f"{path}/clusterrolebindings", binding)
    token = cluster.entra.token(name)
    url = f"{cluster.url}/api"

    def status(**headers: str) -> int:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return cluster.fetch("GET", url, None, token, named).status

    eventually(lambda: status(Impersonate_User="somebody") == 200, seconds=30)
    assert status(Impersonate_User="somebody", Impersonate_Group="system:masters") == 403
