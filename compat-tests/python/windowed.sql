CREATE TABLE clicks (k STRING, v INT, `at` BIGINT, ts AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector'='kafka', 'topic'='clicks', 'properties.bootstrap.servers'='localhost:9092', 'format'='json',
      'scan.startup.mode'='earliest-offset', 'scan.watermark.emit.strategy'='on-event');
CREATE TABLE sums (k STRING, until TIMESTAMP(3), n BIGINT, total INT, kinds BIGINT)
WITH ('connector'='kafka', 'topic'='sums', 'properties.bootstrap.servers'='localhost:9092', 'format'='json');
SET 'pipeline.name' = 'windowed';
INSERT INTO sums
SELECT k, window_end, COUNT(*), SUM(v), COUNT(DISTINCT v)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY k, window_start, window_end;
