"""Read the topics with Spark, as batches: the state of quotes, executions, books and control records.

spark-submit --packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0,org.apache.spark:spark-avro_2.13:4.2.0 \
    quotes.py BOOTSTRAP_SERVERS TOPIC_PREFIX SCHEMAS (the directory of the .avsc files) [--registry]
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.functions import expr

#: Where the Avro binary begins, counted from 1: after a marker and a fingerprint, or after a marker and an id.
AFTER_FINGERPRINT, AFTER_ID = 11, 6
SCHEMAS = {"quotes": "quote", "trades": "trade", "l2": "level2", "control": "control"}

#: For each field, the newest record that says something of it: it has a value there, is in cleared, or everything
#: before it no longer holds (after_gap).
NEWEST = """CAST(
    max_by({field}, struct(session_id, seq))
    FILTER (WHERE {field} IS NOT NULL OR after_gap OR array_contains(cleared, '{field}'))
AS STRING) AS {field}"""
QUOTES = "SELECT symbol, {fields} FROM quotes GROUP BY symbol".format(  # noqa: S608 - only names of this file
    fields=", ".join(NEWEST.format(field=field) for field in ("bid_price", "bid_size", "ask_price", "ask_size"))
)
TRADES = """
    SELECT symbol, CAST(last_price AS STRING) AS last_price, CAST(size AS STRING) AS size
    FROM trades ORDER BY symbol, session_id, seq
"""
#: Where rows are changes (ARIES_LEVEL2=changes): the newest row of each price, of the records from the newest on that
#: replaced all. Rows without sizes are gone.
BOOK = """
    WITH numbered AS (
        SELECT *, sum(CAST(after_gap OR array_contains(cleared, 'book') AS INT))
            OVER (PARTITION BY symbol ORDER BY session_id, seq) AS resets
        FROM l2
    ), since_reset AS (
        SELECT symbol, session_id, seq, inline(book)
        FROM (SELECT *, max(resets) OVER (PARTITION BY symbol) AS newest FROM numbered) WHERE resets = newest
    ), newest AS (
        SELECT symbol, price, max_by(struct(bid_size, ask_size), struct(session_id, seq)) AS sizes
        FROM since_reset GROUP BY symbol, price
    )
    SELECT symbol, CAST(price AS STRING) AS price, sizes.bid_size, sizes.ask_size
    FROM newest WHERE sizes.bid_size > 0 OR sizes.ask_size > 0
"""
CONTROL = "SELECT kind FROM control WHERE kind <> 'HEARTBEAT' ORDER BY time_us"


def main(bootstrap_servers: str, prefix: str, directory: str, *options: str) -> None:
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    begin = AFTER_ID if "--registry" in options else AFTER_FINGERPRINT
    for topic, name in SCHEMAS.items():
        schema = Path(directory, f"{name}.avsc").read_text(encoding="utf-8")
        messages = (
            spark.read.format("kafka")
            .option("kafka.bootstrap.servers", bootstrap_servers)
            .option("subscribe", f"{prefix}.{topic}")
            .load()
        )
        body = expr(f"substring(value, {begin}, length(value))")
        decoded = messages.select(from_avro(body, schema, {"mode": "FAILFAST"}).alias("record"))
        decoded.select("record.*").createOrReplaceTempView(topic)
    for name, query in {"quotes": QUOTES, "trades": TRADES, "book": BOOK, "control": CONTROL}.items():
        rows = spark.sql(query)
        for line in rows.selectExpr(f"to_json(struct('{name}' AS topic, *)) AS line").collect():
            print(line["line"], flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
