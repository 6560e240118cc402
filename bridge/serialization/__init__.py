"""Updates of the feed to Avro values for Kafka, and back.

``field_mappings`` is the table of the feed's fields and the record fields they fill, ``converters`` (with ``decimals``
and ``timestamps``) convert their values, ``records`` builds a record, and ``serializer`` encodes it with fastavro. That
is the reference implementation; ``fast`` does the same in one step for nearly all updates. ``deserializer`` and
``formatting`` are for readers, ``schemas`` and ``schema_registry`` for both. The client of a registry is
``schema_registry`` (its API), ``registry_transport`` (servers and requests), ``registry_login``,
``registry_settings`` and ``registry_responses``.
"""
