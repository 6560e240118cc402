"""A short soak of few kinds: the program itself works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.programs.soak.kinds import kinds
from tests.programs.soak.run import Options, Soak

if TYPE_CHECKING:
    from tests.support.brokers import RealKafka

#: A take-over each, or none.
OF_GROUPS = ("member_stopped", "member_killed", "members_rebalanced", "kafka_cut")
KINDS = ("dropped", "closed", "garbage", "broker_hangs_briefly", "kafka_cut", "restarted", "killed")


async def test_a_short_soak_passes(kafka: RealKafka, topic_prefix: str) -> None:
    """Seven kinds of fault on one broker are recovered, with nothing lost in silence."""
    options = Options(seed=5, seconds=15, rate=500, symbols=10, brokers=1, prefix=topic_prefix, warm_up_seconds=0.5)
    told: list[str] = []

    verdict = await Soak(options, kafka, kinds(1, KINDS), told.append).run()

    assert verdict.problems == []
    assert verdict.unrecovered == []
    assert verdict.verify_exit_code == 0, verdict.verified
    assert verdict.passed
    assert verdict.totals["records"] > 100
    assert sum("  step " in line for line in told) == len(verdict.played)


async def test_a_short_soak_of_a_group_passes(kafka: RealKafka, topic_prefix: str) -> None:
    """Two processes that share shards are killed, stopped and rebalanced, with nothing lost in silence."""
    options = Options(
        seed=5, seconds=25, rate=300, symbols=10, brokers=1, group=2, prefix=topic_prefix, warm_up_seconds=0.5
    )
    told: list[str] = []

    verdict = await Soak(options, kafka, kinds(1, OF_GROUPS, group=2), told.append).run()

    assert verdict.problems == []
    assert verdict.unrecovered == []
    assert verdict.passed, verdict.verified
    assert verdict.totals["processes"] >= 3
