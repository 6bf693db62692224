CREATE TABLE dear (auction BIGINT, price DOUBLE, channel STRING) WITH (
  'connector' = 'kafka',
  'topic' = 'dear',
  'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json'
);
INSERT INTO dear SELECT auction, price * 0.908E0, UPPER(channel) FROM bids WHERE MOD(auction, 2) = 0;
