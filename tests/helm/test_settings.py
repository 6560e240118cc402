"""The program accepts all settings of the chart, and the chart can set each setting of the program."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from bridge import settings
from bridge.check.value_names import VALUE_NAMES
from bridge.settings import Settings
from bridge.settings import table as settings_table
from bridge.settings import warnings as settings_warnings
from bridge.settings.field_types import is_secret
from bridge.settings.fields import names
from bridge.settings.kafka_side import kafka_settings
from tests.helm.chart import CHART, EXAMPLES, Helm, example, merged
from tests.helm.pod_environment import Files, environment
from tests.programs.docs import chart_values as values_table
from tests.support import msk_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helm.chart import Objects
    from tests.programs.docs.chart_values import Value

each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem.removesuffix("-values"))
#: Where the chart takes less than the program: a pod's port must be known, and above those of the system.
NARROWER = {"BRIDGE_HTTP_PORT"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return a directory for what pods mount."""
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def pod_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the host name to that of a StatefulSet's pod."""
    monkeypatch.setattr(socket, "gethostname", lambda: "r-aries-bridge-of-3-2")


@pytest.fixture(autouse=True)
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the signer that images for MSK have."""
    msk_signer.install(tmp_path, monkeypatch)


def loaded(objects: Objects, files: Files) -> Settings:
    """Return the settings of a bridge in a container."""
    pod = objects.pod
    return settings.load(environment(objects, pod, pod.container(), files))


@each_example
def test_the_program_accepts_what_the_chart_says(helm: Helm, path: Path, files: Files) -> None:
    """Every container of every example starts with settings that have neither a problem nor a warning."""
    objects = helm.render(path)
    for pod in objects.pods:
        for container in pod.containers:
            environ = environment(objects, pod, container, files)
            if container["args"][0] == "topics":
                assert kafka_settings(environ=environ).kafka_bootstrap_servers
                continue
            if path == example("injected"):
                environ["ARIES_ACCESS_TOKEN_FILE"] = _injected(files)
            found = settings_warnings.warnings(settings.load(environ), environ)
            assert [warning for warning in found if "in the clear" not in warning] == []


def _injected(files: Files) -> str:
    path = files.here("/etc/aries-bridge/injected-token")
    Path(path).write_text("a token", encoding="utf-8")
    return path


def test_every_setting_can_be_set(helm: Helm) -> None:
    """The examples together set every environment variable of the program, but no secret as a plain value."""
    settable: set[str] = set()
    for path in EXAMPLES:
        objects = helm.render(path)
        settable |= objects.settings.keys()
    secrets = {name.upper() for name, field in Settings.model_fields.items() if is_secret(field)}
    assert settable == set(names()) - secrets


@each_example
def test_no_secret_is_in_the_environment(helm: Helm, path: Path) -> None:
    """Secrets are files: no container has one as a variable, and no ConfigMap contains one."""
    secrets = {name.upper() for name, field in Settings.model_fields.items() if is_secret(field)}
    objects = helm.render(path)
    for pod in objects.pods:
        for container in pod.containers:
            assert not secrets & {one["name"] for one in container.get("env", ())}
            assert not [one for one in container["envFrom"] if "secretRef" in one]
    for config_map in objects.of("ConfigMap"):
        assert not secrets & config_map["data"].keys()


def test_secrets_are_read_from_their_files(helm: Helm, files: Files) -> None:
    """A secret's setting names the file of its key in the Secret."""
    found = loaded(helm.render(example("full")), files)
    revealed = {secret.name: secret.reveal() for secret in found.secrets}
    assert revealed == {
        "ARIES_ACCESS_TOKEN": "the secret aries-access-token",
        "ARIES_API_KEY": "the secret aries-api-key",
        "KAFKA_SASL_PASSWORD": "the secret kafka-sasl-password",
        "SCHEMA_REGISTRY_PASSWORD": "the secret schema-registry-password",
    }
    refreshing = loaded(helm.render(example("refresh-token")), files)
    assert {secret.name for secret in refreshing.secrets} == {"ARIES_REFRESH_TOKEN", "ARIES_CLIENT_SECRET"}


def test_the_keys_are_those_that_the_values_name(helm: Helm) -> None:
    """A Secret may have any keys; the names of the files do not change."""
    volumes = {volume["name"]: volume for volume in helm.render(example("full")).pod.spec["volumes"]}
    assert volumes["aries"]["secret"]["items"] == [
        {"key": "token", "path": "aries-access-token"},
        {"key": "api-key", "path": "aries-api-key"},
    ]
    assert volumes["kafka"]["secret"]["items"] == [{"key": "scram-password", "path": "kafka-sasl-password"}]
    assert volumes["schema-registry-ca"]["configMap"]["items"] == [{"key": "ca.pem", "path": "schema-registry-cafile"}]
    for volume in volumes.values():
        source = volume.get("secret") or volume.get("configMap") or {"defaultMode": 0o440}
        assert source["defaultMode"] == 0o440
    rendered = helm.run("template", "r", str(CHART), "--values", str(example("full")))
    assert set(re.findall(r"defaultMode: *(\S+)", rendered)) == {"288"}  # no octal, which YAML 1.2 reads otherwise


def test_a_service_account_token_has_its_audience(helm: Helm, files: Files) -> None:
    """The kubelet projects a token for the audience and no other, renews it, and the program reads it from its file."""
    for name, volume_name, setting, audience, seconds in (
        ("service-account-token", "kafka-token", "KAFKA_OAUTH_TOKEN", "confluent-cloud", 7200),
        ("workload-identity", "kafka-assertion", "KAFKA_OAUTH_CLIENT_ASSERTION", "api://AzureADTokenExchange", 3600),
    ):
        objects = helm.render(example(name))
        volumes = {volume["name"]: volume for volume in objects.pod.spec["volumes"]}
        path = setting.lower().replace("_", "-")
        token = {"audience": audience, "expirationSeconds": seconds, "path": path}
        assert volumes[volume_name]["projected"] == {"defaultMode": 0o440, "sources": [{"serviceAccountToken": token}]}
        assert objects.settings[f"{setting}_FILE"] == f"/etc/aries-bridge/{volume_name}/{path}"
        assert not objects.pod.spec["automountServiceAccountToken"]
        assert setting in {secret.name for secret in loaded(objects, files).secrets}


def test_a_token_file_from_elsewhere_needs_no_audience(helm: Helm) -> None:
    """Another agent's file, like SPIFFE's, is named by a variable."""
    security = {"protocol": "SASL_SSL", "sasl": {"mechanism": "OAUTHBEARER"}}
    token = {"name": "KAFKA_OAUTH_TOKEN_FILE", "value": "/run/spiffe/token"}
    helm.render(example("minimal"), {"kafka": {"security": security}, "extraEnv": [token]})
    security |= {"oauth": {"tokenUrl": "https://idp.example/token"}}
    assertion = {"name": "KAFKA_OAUTH_CLIENT_ASSERTION_FILE", "value": "/run/spiffe/token"}
    helm.render(example("minimal"), {"kafka": {"security": security}, "extraEnv": [assertion]})


def test_each_login_in_the_readme_works(helm: Helm, files: Files) -> None:
    """The README's values for each provider are valid, for the chart and for the program."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Log in to Kafka\n")[2].partition("\n## ")[0]
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)]
    assert len(examples) == 5
    for values in examples:
        found = loaded(helm.render(example("minimal"), values), files)
        assert found.kafka_sasl_mechanism in ("OAUTHBEARER", "AWS_MSK_IAM")


# -- values.yaml beside the settings ----------------------------------------------------------------------------------


def _set_by() -> dict[str, Value]:
    return {value.setting: value for value in values_table.values() if value.setting}


def _plain() -> Iterator[tuple[str, Value]]:
    """Yield the settings that are values themselves, not names of keys."""
    for name, value in _set_by().items():
        if not name.endswith("FILE"):
            yield name, value


def test_each_setting_is_named_beside_its_value() -> None:
    """values.yaml names for every setting the value that sets it, except for the shard, which the chart sets."""
    secrets = {name.upper() for name, field in Settings.model_fields.items() if is_secret(field)}
    assert _set_by().keys() == set(names()) - secrets - {"BRIDGE_SHARD"}


def test_the_check_knows_the_values(helm: Helm) -> None:
    """`helm test` and the preflight name the value beside each setting, as values.yaml does."""
    [container] = helm.render(example("minimal")).one("Pod")["spec"]["containers"]
    [names] = [one["value"] for one in container["env"] if one["name"] == VALUE_NAMES]
    assert json.loads(names) == {setting: value.name for setting, value in _set_by().items()}


def test_the_defaults_are_the_programs() -> None:
    """A default in values.yaml is the program's; if it is empty, the program has none or computes one."""
    rows = {row.name: row for row in settings_table.table()}
    for name, value in _plain():
        row = rows[name]
        written = settings_table.written(tuple(value.default) if isinstance(value.default, list) else value.default)
        made = row.default.startswith("<prefix>") or row.default == "host name"
        assert written == ("" if made else row.default), value.name


def test_what_values_yaml_leaves_empty_is_not_set(helm: Helm) -> None:
    """The program's default applies to empty values."""
    found = helm.render(example("minimal")).settings
    assert "" not in found.values()
    assert "BRIDGE_INSTANCE" not in found
    assert "KAFKA_TOPIC_QUOTES" not in found


def _accepted(name: str, value: Any) -> bool:
    try:
        Settings(**{name.lower(): value})
    except ValidationError:
        return False
    return True


def _bounds(schema: dict[str, Any]) -> Iterator[tuple[float, float]]:
    """Yield the last number inside and the first outside of each bound."""
    step = 1 if schema["type"] == "integer" else 0.001
    yield schema["maximum"], schema["maximum"] + step
    if "minimum" in schema:
        yield schema["minimum"], schema["minimum"] - step
    else:
        yield schema["exclusiveMinimum"] + step, schema["exclusiveMinimum"]


def test_the_bounds_are_the_programs() -> None:
    """The schema accepts and rejects the same numbers as the program."""
    numbers = {name: value.schema for name, value in _plain() if value.schema.get("type") in ("integer", "number")}
    assert len(numbers) > 10
    for name, schema in numbers.items():
        for inside, outside in _bounds(schema):
            assert _accepted(name, inside), name
            assert name in NARROWER or not _accepted(name, outside), name


def test_the_choices_are_the_programs() -> None:
    """The schema has exactly the choices of the program; an empty one stands for none."""
    choices = {name: value.schema["enum"] for name, value in _plain() if "enum" in value.schema}
    assert len(choices) > 5
    for name, offered in choices.items():
        annotation = Settings.model_fields[name.lower()].annotation
        known = {word for part in get_args(annotation) or () for word in get_args(part) or (part,)} - {type(None)}
        assert set(offered) - {""} == known, name


# -- symbols ----------------------------------------------------------------------------------------------------------

ODD_SYMBOLS = ["BRK.B", "BF/B", "A&B", "$SPX", "^GSPC", "ES=F", "X!", "Y@Z", "Q+", "R~S", "C%D", "ON", "1234", "1e5"]


@pytest.mark.parametrize("hot_reload", [False, True])
def test_symbols_arrive_as_they_were_written(helm: Helm, files: Files, hot_reload: bool) -> None:  # noqa: FBT001 - a parameter
    """A symbol of any characters survives YAML, Helm, and the environment or the file."""
    values = {"aries": {"symbols": ODD_SYMBOLS}, "subscriptions": {"hotReload": hot_reload}}
    assert list(loaded(helm.render(example("minimal"), values), files).plan()) == ODD_SYMBOLS


def test_a_mounted_list_equals_the_environment(helm: Helm, files: Files) -> None:
    """With `subscriptions.hotReload` the plan is the same as without, types and overriding entries included."""
    mounted = loaded(helm.render(example("hotreload")), files)
    by_environment = loaded(helm.render(example("hotreload"), {"subscriptions": {"hotReload": False}}), files)
    assert mounted.aries_subscriptions_file is not None
    assert by_environment.aries_subscriptions_file is None
    assert dict(mounted.plan()) == dict(by_environment.plan())
    assert mounted.plan()["XYZ"].type == "index"
    assert mounted.plan().warnings == ()


def test_a_long_list_is_mounted(helm: Helm, files: Files) -> None:
    """Seven thousand options, too many for the environment, are all subscribed to."""
    symbols = [f"AAPL300119C{number:08}" for number in range(7000)]
    values = {"aries": {"symbols": symbols, "subscriptions": []}}
    found = loaded(helm.render(example("hotreload"), values), files)
    assert len(found.plan()) == 7000
    assert json.loads(found.aries_subscriptions_file.read_text()) == symbols  # type: ignore[union-attr]  # as above


def test_shards_know_their_number(helm: Helm, files: Files) -> None:
    """A pod of the StatefulSet gets its shard from its name, and the number of shards."""
    objects = helm.render(example("shards"))
    found = loaded(objects, files)
    assert (found.shard, found.bridge_shards) == (2, objects.workload["spec"]["replicas"])


def test_pods_with_standbys_are_a_group(helm: Helm, files: Files) -> None:
    """A pod shares the shards with the others, in the group and the topic for which Strimzi's user has the rights."""
    objects = helm.render(example("standby"))
    found = loaded(objects, files)
    assert (found.is_grouped, found.bridge_shards) == (True, 3)
    acls = objects.one("KafkaUser")["spec"]["authorization"]["acls"]
    assert {found.group_id, found.shards_topic} <= {acl["resource"].get("name") for acl in acls}
    assert found.shards_topic in {one["spec"]["topicName"] for one in objects.of("KafkaTopic")}


def test_extra_variables_override_values(helm: Helm, files: Files) -> None:
    """`extraEnv` overrides what the values set."""
    values = {"extraEnv": [{"name": "ARIES_PING_INTERVAL_SECONDS", "value": "7"}]}
    assert loaded(helm.render(example("minimal"), values), files).aries_ping_interval_seconds == 7


def test_values_can_be_given_on_the_command_line(helm: Helm, files: Files) -> None:
    """Numbers of `--set`, which Helm reads as integers and not as floats, are the same settings."""
    objects = helm.render(example("minimal"), None, "--set", "bridge.bufferBytes=104857600,bridge.drainSeconds=5")
    found = loaded(objects, files)
    assert (found.bridge_buffer_bytes, found.bridge_drain_seconds) == (104_857_600, 5)


def test_values_are_merged_as_by_helm() -> None:
    """Maps are merged, everything else is replaced."""
    assert merged({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}, "d": 2}


def test_the_setting_of_a_value_is_found() -> None:
    """The setting in a comment is found, and nothing else."""
    value = next(one for one in values_table.values() if one.name == "kafka.producer.lingerMs")
    assert (value.setting, value.default, value.is_section) == ("KAFKA_LINGER_MS", 2, False)
    assert dataclasses.replace(value, comment="`ARIES_X` alone").setting == ""
