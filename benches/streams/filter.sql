CREATE TABLE picked (auction BIGINT, bidder BIGINT, price BIGINT) WITH (
  'connector' = 'kafka',
  'topic' = 'picked',
  'properties.bootstrap.servers' = 'localhost:9092',
  'format' = 'json'
);
INSERT INTO picked SELECT auction, bidder, price FROM bids WHERE MOD(auction, 2) = 0;
