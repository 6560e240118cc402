"""Producer ids: by them, and sequence numbers, brokers recognize a batch that they have (KIP-98)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from bridge.kafka.broker_support import UnusableBrokers
from bridge.kafka.error_policy import NO_ERROR

if TYPE_CHECKING:
    from bridge.kafka.aiokafka_internals import Client

RETRY_SECONDS: Final = 0.1
#: Codes of a broker that cannot say yet: the coordinator loads, has moved, or is busy with the same request.
_LATER: Final = (14, 15, 16, 51)
_NO_TRANSACTION: Final = None
_LONGEST_TIMEOUT_MS: Final = (1 << 31) - 1
#: aiokafka's own logger, as ``bridge.kafka.client_options`` reads the reason of a failure there.
log = logging.getLogger("aiokafka.producer")


async def new_producer_id(client: Client) -> tuple[int, int]:
    """Return a producer id and its epoch, from any broker that answers, however long it takes.

    Raises ``UnusableBrokers`` if brokers give out none.
    """
    while True:
        try:
            response = await client.send(
                client.get_random_node(), InitProducerIdRequest(_NO_TRANSACTION, _LONGEST_TIMEOUT_MS)
            )
        except IncompatibleBrokerVersion:
            raise
        except KafkaError as error:
            log.warning("Cannot get a producer id: %r", error)
        else:
            if response.error_code == NO_ERROR:
                return response.producer_id, response.producer_epoch
            error_name = for_code(response.error_code).__name__
            if response.error_code not in _LATER:
                raise UnusableBrokers(f"Unexpected error during InitProducerIdRequest: {error_name}")
            log.warning("Cannot get a producer id yet: %s", error_name)
        await asyncio.sleep(RETRY_SECONDS)
        await client.force_metadata_update()
