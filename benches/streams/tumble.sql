CREATE TABLE sums (auction BIGINT, ends TIMESTAMP(3), bids BIGINT, dearest BIGINT, total BIGINT) WITH (
  'connector' = 'kafka',
  'topic' = 'sums',
  'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json'
);
INSERT INTO sums
SELECT auction, window_end, COUNT(*), MAX(price), SUM(price)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
