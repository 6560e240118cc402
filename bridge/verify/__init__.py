"""``aries-bridge verify``: proves from the topics alone what consumers are promised.

``verification`` runs the command, ``topic_reader`` reads Kafka and ``record_header`` decodes. What they find is judged
by pure code: ``partition_check`` (order, keys, repeats), ``process_history`` (accounts on control), ``shard_owners``
and ``handover_check`` (one owner at a time), and ``checker`` (all together). ``violations`` and ``report`` hold the
result.
"""
