"""The continuous integration and delivery files: pinned, least privileged, and in step with the rest of the tree."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from bridge.pipeline.compiled import build
from tests.support import go_tools
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yml"))
#: Set to 1 if the workflows must be linted: a missing actionlint is then a failure.
REQUIRE_GO: Final = "TESTS_REQUIRE_GO"
#: All that any job may do beyond reading the sources. To widen it is a decision, and is made here.
WRITES: Final = {
    ("release.yml", "image"): {"packages", "id-token", "attestations"},
    ("release.yml", "chart"): {"packages", "id-token"},
    ("release.yml", "wheel"): {"id-token", "attestations"},
    ("release.yml", "platform-wheel"): {"id-token", "attestations"},
    ("release.yml", "release"): {"contents"},
}
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path) -> dict[str, Any]:
    """Return a YAML file; its key ``on`` reads as True, as YAML 1.1 has it."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow by name."""
    found: dict[str, dict[str, Any]] = read(path)["jobs"]
    return found


def steps(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every step of a workflow."""
    for job in jobs(path).values():
        yield from job.get("steps", ())


def step(path: Path, job: str, action: str) -> dict[str, Any]:
    """Return what a job passes to an action."""
    [found] = [one for one in jobs(path)[job]["steps"] if one.get("uses", "").startswith(f"{action}@")]
    given: dict[str, Any] = found["with"]
    return given


CI, RELEASE = (ROOT / ".github/workflows" / name for name in ("ci.yml", "release.yml"))


def test_the_workflows_are_those_two() -> None:
    """No other workflow exists that these tests do not check."""
    assert [CI, RELEASE] == WORKFLOWS


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """A tag can be moved; a commit cannot. The version beside it is for readers and for Dependabot."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if "uses:" in line:
            used = line.partition("uses:")[2].strip()
            assert used.startswith("./") or re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_an_action_has_one_version() -> None:
    """The same action has the same commit and version in all workflows."""
    used = re.findall(r"uses: ([\w./-]+)@(\S+ # \S+)", "".join(path.read_text() for path in WORKFLOWS))
    for name in {name for name, _ in used}:
        assert len({version for other, version in used if other == name}) == 1, name


@each_workflow
def test_jobs_have_only_the_permissions_they_need(path: Path) -> None:
    """Nothing is permitted by default, each job names its permissions, and those that write are listed above."""
    assert read(path)["permissions"] == {}
    for name, job in jobs(path).items():
        writes = {right for right, level in job["permissions"].items() if level != "read"}
        assert writes == WRITES.get((path.name, name), set()), name


@each_workflow
def test_jobs_have_timeouts(path: Path) -> None:
    """No job hangs for hours, and no two runs for one ref interfere."""
    assert path.stem in read(path)["concurrency"]["group"]
    for name, job in jobs(path).items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 60, name
        assert "latest" not in str(job.get("runs-on")), name


@each_workflow
def test_credentials_are_not_persisted(path: Path) -> None:
    """The checkout's token is not stored for later steps, and no workflow runs with the code of forks."""
    for one in steps(path):
        if one.get("uses", "").startswith("actions/checkout@"):
            assert one["with"]["persist-credentials"] is False
    assert "pull_request_target" not in read(path)[True]  # type: ignore[index]  # YAML 1.1 reads `on` so
    assert "workflow_run" not in read(path)[True]  # type: ignore[index]


@each_workflow
def test_scripts_take_values_from_the_environment(path: Path) -> None:
    """An expression inside a script would execute what it expands to, such as the name of a branch."""
    assert not [one["run"] for one in steps(path) if "${{" in one.get("run", "")]


@each_workflow
def test_the_make_targets_exist(path: Path) -> None:
    """What a workflow asks make for is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {
        word
        for one in steps(path)
        for line in re.findall(r"^make (.+)$", one.get("run", ""), re.MULTILINE)
        for word in line.split()
    }
    assert asked
    assert asked <= targets


def test_every_python_we_name_is_tested() -> None:
    """The versions of the package's classifiers are those of the tests."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [match[1] for one in classifiers if (match := re.fullmatch(r".* :: Python :: (3\.\d+)", one))]
    assert jobs(CI)["test"]["strategy"]["matrix"]["python"] == named


def test_what_the_gate_requires_is_required_here_too() -> None:
    """What `.ci/run` does not permit to be skipped is not skipped in CI, either."""
    required = set(re.findall(r"TESTS_REQUIRE_\w+", (ROOT / ".ci/run").read_text(encoding="utf-8")))
    assert REQUIRE_GO in required
    assert jobs(CI)["test"]["env"] == dict.fromkeys(required, "1")


def test_nothing_is_released_that_was_not_checked() -> None:
    """Image, chart and wheel wait for all of CI, and the release for them."""
    needed = {
        name: {job["needs"]} if isinstance(job.get("needs"), str) else set(job.get("needs", ()))
        for name, job in jobs(RELEASE).items()
    }
    assert jobs(RELEASE)["check"]["uses"] == "./.github/workflows/ci.yml"
    assert {"version", "check"} <= needed["image"] & needed["wheel"] & needed["platform-wheel"]
    assert "image" in needed["chart"]
    assert {"image", "chart", "wheel", "platform-wheel"} <= needed["release"]


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """Return a tree with a version and its schemas, as a tag has it."""
    for name in ("bridge", "avro/released/1.2.3", "runner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bridge/__init__.py").write_text('__version__ = "1.2.3"\n')
    for folder in ("avro", "avro/released/1.2.3"):
        (tmp_path / folder / "quote.avsc").write_text("{}")
    return tmp_path


def check_tag(tree: Path, tag: str) -> subprocess.CompletedProcess[str]:
    """Run the first step of a release in a tree, in GitHub's shell for a step."""
    [script] = [one["run"] for one in jobs(RELEASE)["version"]["steps"] if "run" in one]
    environ = {
        "PATH": os.environ["PATH"],
        "GITHUB_REF_NAME": tag,
        "GITHUB_REPOSITORY": "Example/Bridge",
        "GITHUB_REPOSITORY_OWNER": "Example",
        "GITHUB_OUTPUT": str(tree / "output"),
        "RUNNER_TEMP": str(tree / "runner"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)


def test_a_tag_with_its_version_and_schemas_is_released(tagged: Path) -> None:
    """The version is that of the program, and the schemas were kept."""
    done = check_tag(tagged, "v1.2.3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version=1.2.3\n" in (tagged / "output").read_text()


def test_a_tag_of_another_version_is_not_released(tagged: Path) -> None:
    """The program reports its own version, which must be that of the tag."""
    done = check_tag(tagged, "v1.2.4")
    assert done.returncode == 1
    assert "__version__ is another" in done.stdout


@pytest.mark.parametrize("mistake", ["missing", "changed", "incomplete", "surplus"])
def test_a_tag_without_its_schemas_is_not_released(tagged: Path, mistake: str) -> None:
    """What the release writes is kept exactly, as later versions are compared with it."""
    kept = tagged / "avro/released/1.2.3"
    if mistake == "changed":
        (kept / "quote.avsc").write_text("[]")
    elif mistake == "surplus":
        (kept / "candle.avsc").write_text("{}")
    elif mistake == "incomplete":
        (tagged / "avro/trade.avsc").write_text("{}")
    else:
        (kept / "quote.avsc").unlink()
        kept.rmdir()
    done = check_tag(tagged, "v1.2.3")
    assert done.returncode == 1
    assert "CONTRIBUTING.md" in done.stdout


def test_the_image_is_for_both_architectures_with_sbom_and_provenance() -> None:
    """What is pushed can be inspected and traced to its sources."""
    build = step(RELEASE, "image", "docker/build-push-action")
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert (build["sbom"], build["provenance"], build["push"], build["pull"]) == (True, "mode=max", True, True)
    assert jobs(CI)["image"]["strategy"]["matrix"]["runner"] == ["ubuntu-24.04", "ubuntu-24.04-arm"]
    attested = step(RELEASE, "image", "actions/attest-build-provenance")
    assert attested["push-to-registry"] is True
    assert attested["subject-digest"] == "${{ steps.build.outputs.digest }}"


def test_the_image_gets_all_arguments_of_its_labels() -> None:
    """A release sets the Dockerfile's arguments that have a placeholder as default."""
    runtime = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("FROM ")[2]
    given = step(RELEASE, "image", "docker/build-push-action")["build-args"]
    assert set(re.findall(r"^(\w+)=", given, re.MULTILINE)) == set(re.findall(r"^ARG (\w+)=", runtime, re.MULTILINE))


def test_wheels_with_the_compiled_step_are_for_both_architectures() -> None:
    """One wheel for each serves all versions of Python, and none is released without the compiled step."""
    job = jobs(RELEASE)["platform-wheel"]
    assert job["strategy"]["matrix"]["runner"] == jobs(CI)["image"]["strategy"]["matrix"]["runner"]
    [built] = [one for one in job["steps"] if one.get("uses", "").startswith("pypa/cibuildwheel@")]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert built["env"]["CIBW_BUILD"] == f"cp{oldest.replace('.', '')}-manylinux_*"
    assert built["env"]["CIBW_ENVIRONMENT"] == f"{build.SWITCH}=required"


def test_the_chart_is_packaged_by_the_helm_that_the_tests_use() -> None:
    """A chart is released by the version of Helm with which it was checked."""
    [released] = re.findall(r"helm/v3/cmd/helm@(\S+)", RELEASE.read_text(encoding="utf-8"))
    assert released == go_tools.HELM.version


def test_the_pins_are_kept_up_to_date() -> None:
    """Dependabot updates the pinned actions."""
    updates = read(ROOT / ".github/dependabot.yml")["updates"]
    assert "github-actions" in {update["package-ecosystem"] for update in updates}


@pytest.fixture(scope="module")
def actionlint() -> Path:
    """Return actionlint."""
    try:
        return go_tools.binary(go_tools.ACTIONLINT)
    except go_tools.ToolMissing as missing:
        if os.environ.get(REQUIRE_GO) == "1":
            pytest.fail(f"{REQUIRE_GO}=1, but: {missing}")
        pytest.skip(f"WORKFLOWS NOT LINTED: {missing}")


@pytest.mark.timeout(go_tools.BUILD_DEADLINE_SECONDS + 30)
def test_actionlint_finds_nothing(actionlint: Path) -> None:
    """Workflows are valid for GitHub's schema, expressions and contexts."""
    done = subprocess.run([actionlint, *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(go_tools.BUILD_DEADLINE_SECONDS + 30)
def test_actionlint_would_find_something(actionlint: Path, tmp_path: Path) -> None:
    """An expression with an unknown name is reported."""
    broken = tmp_path / "ci.yml"
    broken.write_text(CI.read_text(encoding="utf-8").replace("matrix.runner", "matrix.nothing"))
    done = subprocess.run([actionlint, broken], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nothing" in done.stdout
