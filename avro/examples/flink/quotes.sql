-- Flink SQL over the topics of a bridge with a schema registry. Declare the types exactly so: a decimal with another
-- scale is read as a wrong number, without an error.

-- For a job that goes on, leave out this line and the options 'scan.bounded.mode'.
SET 'execution.runtime-mode' = 'batch';

CREATE TABLE quotes (
  session_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  after_gap BOOLEAN NOT NULL,
  event_time TIMESTAMP(3),
  bid_price DECIMAL(18, 9),
  bid_size BIGINT,
  ask_price DECIMAL(18, 9),
  ask_size BIGINT,
  cleared ARRAY<STRING NOT NULL> NOT NULL,
  symbol STRING NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'aries.quotes',
  'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'key.format' = 'raw',
  'key.fields' = 'symbol',
  'value.fields-include' = 'ALL',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = 'http://localhost:8081'
);

CREATE TABLE trades (
  session_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  last_price DECIMAL(18, 9),
  size DECIMAL(18, 6),
  symbol STRING NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'aries.trades',
  'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = 'http://localhost:8081'
);

CREATE TABLE l2 (
  session_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  after_gap BOOLEAN NOT NULL,
  book ARRAY<ROW<price DECIMAL(18, 9) NOT NULL, bid_size BIGINT, ask_size BIGINT> NOT NULL> NOT NULL,
  is_full BOOLEAN,
  cleared ARRAY<STRING NOT NULL> NOT NULL,
  symbol STRING NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'aries.l2',
  'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = 'http://localhost:8081'
);

CREATE TABLE control (
  kind STRING NOT NULL,
  instance STRING NOT NULL,
  time_us BIGINT NOT NULL
) WITH (
  'connector' = 'kafka',
  'topic' = 'aries.control',
  'properties.bootstrap.servers' = 'localhost:9092',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'value.format' = 'avro-confluent',
  'value.avro-confluent.url' = 'http://localhost:8081'
);

-- The state of the bids: for each field, the newest record that says something of it. It has a value there, is in
-- cleared, or everything before it no longer holds (after_gap).
SELECT 'bid_price', symbol, bid_price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY session_id DESC, seq DESC) AS age
  FROM quotes WHERE bid_price IS NOT NULL OR after_gap OR ARRAY_CONTAINS(cleared, 'bid_price')
) WHERE age = 1;

SELECT 'bid_size', symbol, bid_size FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY session_id DESC, seq DESC) AS age
  FROM quotes WHERE bid_size IS NOT NULL OR after_gap OR ARRAY_CONTAINS(cleared, 'bid_size')
) WHERE age = 1;

SELECT 'ask_price', symbol, ask_price FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol ORDER BY session_id DESC, seq DESC) AS age
  FROM quotes WHERE ask_price IS NOT NULL OR after_gap OR ARRAY_CONTAINS(cleared, 'ask_price')
) WHERE age = 1;

SELECT 'trade', symbol, last_price, size FROM trades WHERE size <> FLOOR(size);

-- The book where rows are changes (ARIES_LEVEL2=changes): the newest row of each price, of the records from the newest
-- on that replaced all. Rows without sizes are gone.
SELECT 'book', symbol, price, bid_size, ask_size FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY symbol, price ORDER BY session_id DESC, seq DESC) AS age
  FROM (
    SELECT symbol, session_id, seq, resets, book,
      MAX(resets) OVER (PARTITION BY symbol) AS newest
    FROM (
      SELECT *, SUM(CASE WHEN after_gap OR ARRAY_CONTAINS(cleared, 'book') THEN 1 ELSE 0 END)
        OVER (PARTITION BY symbol ORDER BY session_id, seq) AS resets
      FROM l2
    )
  ) CROSS JOIN UNNEST(book) AS levels (price, bid_size, ask_size)
  WHERE resets = newest
) WHERE age = 1 AND (bid_size > 0 OR ask_size > 0);

SELECT 'control', kind FROM control WHERE kind <> 'HEARTBEAT' ORDER BY time_us;
