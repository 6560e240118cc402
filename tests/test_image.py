"""The container image: its Dockerfile, and what its steps build in a clean root."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bridge
from bridge.kafka.embedded_broker import IN_IMAGE
from bridge.settings import Settings
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support import clean_root
from tests.support.dockerfile import parse
from tests.support.paths import ROOT
from tests.support.process import Process
from tests.support.service import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.clean_root import Image

DEFAULTS, STAGES = parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
BUILD, RUNTIME = STAGES
LABELS = ("title", "description", "licenses", "version", "revision", "created", "source", "base.name")
#: Modules that the image does not have.
LEFT_OUT = ("markdown_it", "mdurl", "pygments", "zstandard._cffi")
COMMANDS = ("check", "dev", "run", "schemas", "settings", "simulate", "tail", "topics", "verify")
#: The steps fetch wheels, as the image's build does.
BUILD_TIMEOUT_SECONDS = 600


# -- what the Dockerfile says -----------------------------------------------------------------------------------------


def test_the_stages_have_one_python_with_a_version() -> None:
    """Both stages use the same Python and system, with a tag that is not `latest`; only the first has a compiler."""
    assert [stage.base for stage in STAGES] == [DEFAULTS["BUILD_IMAGE"], DEFAULTS["PYTHON_IMAGE"]]
    assert re.fullmatch(r"python:3\.1[1-9]-slim-\w+(@sha256:[0-9a-f]{64})?", DEFAULTS["PYTHON_IMAGE"])
    assert DEFAULTS["BUILD_IMAGE"] == DEFAULTS["PYTHON_IMAGE"].replace("-slim", "")


def test_the_user_is_a_number_other_than_root() -> None:
    """Kubernetes can only verify a numeric user not to be root."""
    assert RUNTIME.one("USER").text == "10001:10001"
    assert RUNTIME.instructions.index(RUNTIME.one("USER")) > max(map(RUNTIME.instructions.index, RUNTIME.all("RUN")))


def test_commands_are_in_exec_form() -> None:
    """There is no shell between the engine's signals and the program."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert RUNTIME.one("ENTRYPOINT").exec_form() == ["aries-bridge"]
    assert RUNTIME.one("ENTRYPOINT").exec_form()[0] in scripts
    assert RUNTIME.one("CMD").exec_form() == ["run"]
    assert RUNTIME.one("HEALTHCHECK").inner().exec_form() == ["python", "-m", "bridge.observability.healthcheck"]
    assert RUNTIME.one("STOPSIGNAL").text == "SIGTERM"


def test_only_hashed_wheels_are_installed() -> None:
    """Each package is a wheel with a hash from the lock; our own is built here, without the index."""
    commands = [run.text for stage in STAGES for run in stage.all("RUN")]
    installs = [part for command in commands for part in command.split("&&") if " install " in part]
    assert len(installs) == 3
    for install in installs:
        ours = "--no-index" in install and "--no-deps" in install
        assert ours or ("--require-hashes" in install and "--only-binary :all:" in install)
    assert not any("apt" in command or "curl" in command for command in commands)
    assert not any(stage.all("ADD") for stage in STAGES)


def test_each_extra_for_an_image_has_its_lock() -> None:
    """An extra adds packages to those of the default image, and changes none of them."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    copied = {word for one in BUILD.all("COPY") for word in one.words()}
    default = pins("requirements.lock")
    for extra in extras:
        assert f"requirements-{extra}.lock" in copied
        assert default < pins(f"requirements-{extra}.lock")


def pins(lock: str) -> set[str]:
    """Return the packages and versions of a lock file."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return {line.partition(" ")[0] for line in lines if "==" in line}


def test_the_runtime_takes_only_the_environment_from_the_build() -> None:
    """Sources, lock files and build tools are not in the final image."""
    [copied] = RUNTIME.all("COPY")
    assert copied.flags == {"from": "build"}
    assert copied.words() == ["/opt/aries-bridge", "/opt/aries-bridge"]


def test_the_port_is_the_settings_default() -> None:
    """EXPOSE has the port on which the program listens by default."""
    assert RUNTIME.one("EXPOSE").text == str(Settings.model_fields["bridge_http_port"].default)


def test_the_labels_identify_the_image() -> None:
    """Version, revision and base have the OCI's annotation names."""
    arguments = dict(one.text.partition("=")[::2] for one in RUNTIME.all("ARG")) | DEFAULTS
    labels = dict(word.split("=", 1) for word in RUNTIME.one("LABEL").words(arguments | {"VERSION": "1.2.3"}))
    assert set(labels) == {f"org.opencontainers.image.{name}" for name in LABELS}
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.base.name"] == DEFAULTS["PYTHON_IMAGE"]


def test_each_stage_declares_each_argument() -> None:
    """Some builders warn of an argument that a stage does not declare."""
    declared = [{one.text.partition("=")[0] for one in stage.all("ARG")} - DEFAULTS.keys() for stage in STAGES]
    assert declared[0] == declared[1] == {"CREATED", "EXTRA", "PIP_INDEX_URL", "REVISION", "SOURCE", "VERSION"}


def test_the_readmes_command_fills_the_labels() -> None:
    """What identifies an image is not left at its default."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^docker build (?:.*\\\n)*.*", readme, re.MULTILINE)
    for name in ("VERSION", "REVISION", "CREATED", "SOURCE"):
        assert f"--build-arg {name}=" in command


def test_an_authority_can_be_given_to_the_steps_that_connect() -> None:
    """Behind a proxy that inspects TLS, pip gets the authority as a secret, which is not part of the image."""
    connecting = [run for run in BUILD.all("RUN") if "--require-hashes" in run.text]
    assert len(connecting) == 2
    for run in connecting:
        assert run.flags == {"mount": "type=secret,id=authority"}
        assert "export PIP_CERT=/run/secrets/authority" in run.text


def test_the_program_knows_that_it_is_in_an_image() -> None:
    """There is no pip for it to recommend."""
    assert {IN_IMAGE: "1"}.items() <= dict(word.split("=", 1) for word in shlex.split(RUNTIME.one("ENV").text)).items()


def test_no_secret_is_built_in() -> None:
    """Build arguments and variables stay in the image's history: none is meant for a secret."""
    names = [one.text.split("=")[0] for stage in STAGES for one in (*stage.all("ARG"), *stage.all("ENV"))]
    assert not [name for name in names if re.search(r"TOKEN|SECRET|PASSWORD|KEY", name)]


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(%r))
sys.argv = ["aries-bridge", *%r]
from bridge.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("arguments", "output"), [*(([one, "--help"], "Usage: ") for one in COMMANDS), (["settings"], "ARIES_WS_URL")]
)
def test_commands_need_nothing_that_is_left_out(arguments: list[str], output: str) -> None:
    """With the image's environment no command imports what the image does not have."""
    assert "TYPER_USE_RICH=0" in RUNTIME.one("ENV").text
    program = WITHOUT % (LEFT_OUT, arguments)
    environ = {"PATH": os.environ["PATH"], "TYPER_USE_RICH": "0", "TTY_COMPATIBLE": "1", "FORCE_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert output in done.stdout


# -- what is sent to the builder --------------------------------------------------------------------------------------


def test_what_is_sent_is_denied_first() -> None:
    """Only what the Dockerfile copies is sent to the builder: a secret in the checkout is not."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    copied = {word for one in BUILD.all("COPY") for word in one.words()[:-1]}
    assert {path.split("/")[0] for path in clean_root.sent(ROOT)} == copied


def test_byte_code_of_the_checkout_is_not_sent(tmp_path: Path) -> None:
    """Byte code of another Python is not sent, and neither are files beside the sources."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text(encoding="utf-8"))
    for name in ("bridge/app.py", "bridge/__pycache__/app.pyc", "bridge/dev/__pycache__/x.pyc", ".env", "tests/t.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert clean_root.sent(tmp_path) == {"bridge/app.py"}


# -- what its steps make ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run every step of the Dockerfile in a clean root."""
    try:
        return clean_root.build(ROOT, tmp_path_factory.mktemp("image"), {"VERSION": bridge.__version__})
    except clean_root.NoCleanRoot as missing:
        pytest.skip(f"THE IMAGE'S STEPS WERE NOT RUN: {missing}")


built = pytest.mark.timeout(BUILD_TIMEOUT_SECONDS)


@built
def test_the_program_runs_as_any_user_on_a_read_only_root(image: Image) -> None:
    """It needs no user name, no home, no capability and no writable directory."""
    assert image.user == "10001:10001"
    version = image.run(*image.entrypoint, "--version")
    assert (version.returncode, version.stdout) == (0, f"aries-bridge {bridge.__version__}\n")
    settings = image.run(*image.entrypoint, "settings")
    assert settings.returncode == 0, settings.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in settings.stdout
    assert image.run(*image.entrypoint, "schemas", "list").returncode == 0


@built
def test_the_image_has_the_compiled_step(image: Image) -> None:
    """The step that takes a fraction of the CPU time was built for the image's Python."""
    program = "from bridge.pipeline.compiled import is_built; raise SystemExit(not is_built())"
    assert image.run("python", "-c", program).returncode == 0


@built
def test_the_default_command_is_the_service(image: Image) -> None:
    """Without settings `run` lists everything that is missing, and exits with the code for that."""
    done = image.run(*image.entrypoint, *image.command)
    assert done.returncode == 2
    assert "ARIES_SYMBOLS" in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr


@built
def test_the_program_can_change_no_file_of_the_image(image: Image) -> None:
    """No file of the image belongs to its user, even if the root is writable."""
    found = image.run("find", "/opt", "/usr/local", "-writable", "-not", "-type", "l", read_only=False)
    assert (found.returncode, found.stdout) == (0, "")
    assert image.run("touch", "/tmp/x").returncode != 0


@built
def test_the_image_has_no_installer_and_no_build_tool(image: Image) -> None:
    """There is no pip, no hatchling, no development tool, and no wheel."""
    for module in ("pip", "ensurepip", "hatchling", "pytest", "confluent_kafka"):
        for python in ("python", "/usr/local/bin/python3"):
            if module in ("pip", "ensurepip") or python == "python":
                assert image.run(python, "-c", f"import {module}").returncode == 1, f"{python}: {module}"
    assert not list((image.root / "opt").glob("*/bin/pip*"))
    assert [path.name for path in (image.root / "opt").iterdir()] == ["aries-bridge"]


@built
def test_the_image_has_only_what_a_command_imports(image: Image) -> None:
    """Large packages that others ask for and no command uses are left out, and each command works without them."""
    for module in LEFT_OUT:
        assert image.run("python", "-c", f"import {module}").returncode == 1, module
    for command in COMMANDS:
        shown = image.run(*image.entrypoint, command, "--help")
        assert (shown.returncode, shown.stderr) == (0, ""), command
        assert shown.stdout.startswith(f"Usage: aries-bridge {command}")


@built
def test_byte_code_is_there_for_every_module(image: Image) -> None:
    """It is compiled at build time, as it cannot be written at run time."""
    packages = next((image.root / "opt/aries-bridge/lib").glob("python3*/site-packages"))
    sources = list(packages.rglob("*.py"))
    assert len(sources) > 100
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source


@asynccontextmanager
async def running(image: Image, environ: Mapping[str, str]) -> AsyncIterator[tuple[Process, int]]:
    """Run the image's default command; yield it, and the process id that its first process has outside."""
    subprocess = await asyncio.create_subprocess_exec(
        *image.entered([*image.entrypoint, *image.command]),
        env={**image.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started = Process(subprocess)
    try:
        await started.logged("starting")
        yield started, first_child(subprocess.pid)
    finally:
        await started.kill()


def first_child(number: int) -> int:
    """Return the number of a process's first child."""
    return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])


@built
async def test_it_streams_is_healthy_and_stops_on_the_stop_signal(
    image: Image, broker: EmbeddedBroker, topic_prefix: str, unused_address: str
) -> None:
    """As the first process of a container it publishes, answers its health check, and drains when it is stopped."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    host, port_number = unused_address.split(":")
    port = {"BRIDGE_HTTP_PORT": port_number, "BRIDGE_HTTP_HOST": host}
    async with Simulator(rate=200) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, **port)
        async with running(image, environ) as (bridge_process, number):
            await bridge_process.logged("subscribed")
            await simulator.wait_for(lambda: simulator.sent.market_data > 100, what="data")
            health = await asyncio.to_thread(image.run, *image.health_check, environ=port)
            assert health.returncode == 0, health.stderr
            os.kill(number, signal.SIGTERM)
            assert await bridge_process.ended() == 0
            stopped = await bridge_process.logged("stopped")
    assert stopped["accounts"]["published"] > 0
    assert stopped["undelivered"] == 0
    unhealthy = await asyncio.to_thread(image.run, *image.health_check, environ=port)
    assert unhealthy.returncode == 1
