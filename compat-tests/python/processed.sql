CREATE TABLE input_topic  (v STRING) WITH ('connector'='kafka','topic'='input_topic','properties.bootstrap.servers'='localhost:9092','properties.group.id'='flink-group','scan.startup.mode'='earliest-offset','format'='raw');
CREATE TABLE output_topic (v STRING) WITH ('connector'='kafka','topic'='output_topic','properties.bootstrap.servers'='localhost:9092','format'='raw');
INSERT INTO output_topic SELECT 'processed_' || v FROM input_topic;
