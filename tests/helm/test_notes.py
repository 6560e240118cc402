"""What Helm prints after an installation."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from bridge import log_events
from tests.helm.chart import CHART, Helm, example

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Helm prints notes only at an installation; as a template like the others they can be had without a cluster.
_AS_OBJECT = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: notes
data:
  text: {{ include "aries-bridge/templates/NOTES.txt" . | toJson }}
"""


def notes(helm: Helm, name: str, values: Mapping[str, Any] | None = None) -> str:
    """Return the notes of an installation with an example's values."""
    found = helm.render(example(name), {**(values or {}), "extraObjects": [_AS_OBJECT]}).config_map("notes")
    assert found is not None
    return found["text"]


def test_the_notes_have_commands_for_what_was_installed(helm: Helm) -> None:
    """The commands have the installed names and namespace."""
    text = notes(helm, "minimal")
    for command in (
        "kubectl --namespace market-data rollout status deployment/r-aries-bridge",
        "helm --namespace market-data test r --logs",
        "kubectl --namespace market-data port-forward service/r-aries-bridge 8080:8080",
    ):
        assert f"  {command}\n" in text


def test_the_notes_warn_of_what_is_open(helm: Helm) -> None:
    """An image by tag, Kafka without TLS and unscraped metrics are noted, but only if they apply."""
    warnings = ("image.digest is not set", "kafka.security.protocol is PLAINTEXT", "/metrics is not scraped yet")
    assert all(warning in notes(helm, "minimal") for warning in warnings)
    full = notes(helm, "full")
    assert not any(warning in full for warning in warnings)
    assert "there are two sessions at a time" in full


def test_the_notes_know_shards(helm: Helm) -> None:
    """With shards there is a page for each, and a StatefulSet."""
    text = notes(helm, "shards")
    assert "in 3 shards" in text
    assert "rollout status statefulset/r-aries-bridge-of-3" in text
    assert "port-forward pod/r-aries-bridge-of-3-0 8080:8080" in text


def test_the_notes_know_how_symbols_change(helm: Helm) -> None:
    """They say whether a change of symbols restarts the pod."""
    assert "the pod restarts" in notes(helm, "minimal")
    hot = notes(helm, "hotreload")
    assert "\n\nChange aries.symbols" in hot
    assert "without a restart" in hot
    assert "kubectl --namespace market-data annotate pods --overwrite --selector app.kubernetes.io/instance=r," in hot
    assert f"grep '{log_events.SUBSCRIPTIONS_CHANGED}'" in hot


def test_the_notes_say_what_a_long_list_needs(helm: Helm, tmp_path: Path) -> None:
    """`kubectl apply` copies an object into an annotation, which has a limit; a comment of the object says so, too."""
    values = {"aries": {"symbols": [f"AAPL300119C{number:08}" for number in range(12_000)]}}
    assert "kubectl apply" in notes(helm, "hotreload", values)
    assert "kubectl apply" not in notes(helm, "hotreload")
    assert "--server-side" not in helm.run("template", "r", str(CHART), "--values", str(example("hotreload")))
    path = tmp_path / "values.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")
    examples = ("--values", str(example("hotreload")), "--values", str(path))
    rendered = helm.run("template", "r", str(CHART), *examples)
    assert re.search(r"# \d{6} bytes: `kubectl apply` needs --server-side", rendered)
