"""PyFlink's first programs: range(100) doubled to print, and a map from one topic to another. Both end by themselves.

    KAFKA=host:port python processed.py JAR…      (the Kafka connector and its client)
"""

import os
import pathlib
import sys

from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)

BROKER = os.environ["KAFKA"]


def environment(jars):
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1)
    env.set_python_executable(sys.executable)
    env.add_jars(*(pathlib.Path(jar).as_uri() for jar in jars))
    return env


def doubled(env):
    env.from_collection(list(range(100)), type_info=Types.INT()).map(lambda x: x * 2, output_type=Types.INT()).print()
    env.execute("doubled")


def processed(env):
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(BROKER)
        .set_topics("input_topic")
        .set_group_id("flink-group")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.latest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    serializer = (
        KafkaRecordSerializationSchema.builder()
        .set_topic("output_topic")
        .set_value_serialization_schema(SimpleStringSchema())
        .build()
    )
    sink = KafkaSink.builder().set_bootstrap_servers(BROKER).set_record_serializer(serializer).build()
    values = env.from_source(source, WatermarkStrategy.no_watermarks(), "input")
    values.map(lambda value: "processed_" + value, output_type=Types.STRING()).sink_to(sink)
    env.execute("processed")


if __name__ == "__main__":
    doubled(environment(sys.argv[1:]))
    processed(environment(sys.argv[1:]))
