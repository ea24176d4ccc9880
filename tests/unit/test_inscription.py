"""What was asked for, as it stands on the object with the settings."""

import json

import pytest

from shared import inscription
from shared.spec import ConnectionSpec
from tests.fakes.local_app import CLUSTER, STORAGE

SPEC = ConnectionSpec(
    name="Orders-1",
    cluster_id=CLUSTER,
    namespace="shop",
    workload="orders",
    target_type="storage-blob",
    target_id=STORAGE,
    client_type="python",
    customized_keys={"A": "B"},
    additional_settings={"REGION": "west"},
)


def test_an_inscription_tells_the_wish_again():
    text = inscription.text_of(SPEC)
    assert "west" not in text, "values are in the secret"
    assert inscription.additional(text) == ("REGION",)
    told = inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data={"REGION": "west", "X": "y"})
    assert told == SPEC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "[" * 5000,
        "x" * 20_000,
        '{"name": 7}',
        '{"name": "a"}',
        '{"additional_settings": "x"}',
        '{"additional_settings": [1]}',
        '{"name": "a", "cluster_id": "other"}',
        inscription.text_of(SPEC).replace("Orders-1", "Orders-1\\ud800"),
        inscription.text_of(SPEC).replace('"A"', '"\\udfff"'),
    ],
)
def test_what_is_no_inscription_tells_nothing(text: str):
    assert inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop") is None


def test_the_clusters_id_keeps_the_casing_in_which_it_was_asked_for():
    text = inscription.text_of(SPEC)
    told = inscription.spec_of(text, cluster_id=CLUSTER.lower(), namespace="shop", data={"REGION": "west"})
    assert told == SPEC
    elsewhere = f"{CLUSTER}2"
    told = inscription.spec_of(text, cluster_id=elsewhere, namespace="shop", data={"REGION": "west"})
    assert told is not None
    assert told.cluster_id == elsewhere


def test_without_values_the_additional_settings_are_left_out():
    told = inscription.spec_of(inscription.text_of(SPEC), cluster_id=CLUSTER, namespace="shop")
    assert told == SPEC.model_copy(update={"additional_settings": {}})


@pytest.mark.parametrize("data", [{}, {"OTHER": "x"}])
def test_an_inscription_whose_settings_the_secret_lacks_tells_nothing(data: dict[str, str]):
    text = inscription.text_of(SPEC)
    assert inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data=data) is None


def test_a_place_in_an_inscription_is_not_believed():
    text = json.dumps(
        {**json.loads(inscription.text_of(SPEC)), "cluster_id": "x", "namespace": "kube-system"}
    )
    told = inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data={"REGION": "west"})
    assert told is not None
    assert (told.cluster_id, told.namespace) == (CLUSTER, "shop")


@pytest.mark.parametrize("one", [{}, {"name": "p"}, {"name": "p", "type": "secret", "version": "1"}])
def test_an_inscription_that_tells_half_of_a_vaults_object_tells_nothing(one: dict[str, str]):
    mounted = SPEC.model_copy(update={"additional_settings": {}, "vault_objects": {"p": one}})
    text = inscription.text_of(mounted)
    assert inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop") is None
    whole = mounted.model_copy(update={"vault_objects": {"p": {"name": "p", "type": "secret"}}})
    assert inscription.spec_of(inscription.text_of(whole), cluster_id=CLUSTER, namespace="shop") == whole
