// Package segmentio drives the broker with segmentio/kafka-go.
package segmentio

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	. "warren.invalid/compat-kafka/support"
)

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func writer(t *testing.T, topic string) *kafka.Writer {
	w := &kafka.Writer{
		Addr: kafka.TCP(Broker()), Topic: topic, AllowAutoTopicCreation: true,
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// reader waits only shortly for more, because closing it waits for that.
func reader(topic, group string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{Broker()}, Topic: topic, GroupID: group,
		StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond,
	})
}

// made waits until a topic is there: with Kafka itself the first write to a new one fails.
func made(t *testing.T) string {
	topic := Unique(t)
	conn, err := kafka.DialLeader(patient(t), "tcp", Broker(), topic, 0)
	Must(t, err, "make the topic")
	Must(t, conn.Close(), "close")
	return topic
}

func TestTheFirstWriteToANewTopicSucceeds(t *testing.T) {
	if Oracle() {
		t.Skip("Kafka makes the topic later, and this library does not wait for it")
	}
	topic := Unique(t)
	w := writer(t, topic)
	w.MaxAttempts = 1
	Must(t, w.WriteMessages(patient(t), kafka.Message{Value: []byte("first")}), "one attempt")
	r := reader(topic, "")
	defer r.Close()
	got, err := r.ReadMessage(patient(t))
	Must(t, err, "read")
	Equal(t, string(got.Value), "first", "value")
}

func TestEveryCodec(t *testing.T) {
	for _, codec := range []kafka.Compression{kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			topic := made(t)
			w := writer(t, topic)
			w.Compression = codec
			var batch []kafka.Message
			for i := range 100 {
				batch = append(batch, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, "text %d", i)})
			}
			Must(t, w.WriteMessages(patient(t), batch...), "write")
			r := reader(topic, "")
			defer r.Close()
			for i := range 100 {
				got, err := r.ReadMessage(patient(t))
				Must(t, err, "read")
				Equal(t, string(got.Value), fmt.Sprint("text ", i), "value")
			}
		})
	}
}

func TestAGroupGoesOnWhereItCommitted(t *testing.T) {
	topic, group := made(t), Unique(t)
	w := writer(t, topic)
	for i := range 5 {
		Must(t, w.WriteMessages(patient(t), kafka.Message{Value: fmt.Appendf(nil, "%d", i)}), "write")
	}
	member := func() *kafka.Reader { return reader(topic, group) }
	first := member()
	for range 3 {
		got, err := first.FetchMessage(patient(t))
		Must(t, err, "fetch")
		Must(t, first.CommitMessages(patient(t), got), "commit")
	}
	Must(t, first.Close(), "close")
	second := member()
	defer second.Close()
	got, err := second.ReadMessage(patient(t))
	Must(t, err, "read")
	Equal(t, string(got.Value), "3", "what was not committed yet")
}

func TestALowLevelConnection(t *testing.T) {
	topic := Unique(t)
	conn, err := kafka.DialLeader(patient(t), "tcp", Broker(), topic, 0)
	Must(t, err, "dial leader")
	defer conn.Close()
	Must(t, conn.SetDeadline(time.Now().Add(Patience)), "deadline")
	_, err = conn.WriteMessages(kafka.Message{Value: []byte("one")}, kafka.Message{Value: []byte("two")})
	Must(t, err, "write")
	first, last, err := conn.ReadOffsets()
	Must(t, err, "offsets")
	Equal(t, first, 0, "first offset")
	Equal(t, last, 2, "last offset")
	batch := conn.ReadBatch(1, 1<<20)
	got, err := batch.ReadMessage()
	Must(t, err, "read")
	Equal(t, string(got.Value), "one", "value")
	Must(t, batch.Close(), "close")
	partitions, err := conn.ReadPartitions(topic)
	Must(t, err, "partitions")
	Equal(t, len(partitions), 1, "partitions")
}

func TestAdministration(t *testing.T) {
	client := &kafka.Client{Addr: kafka.TCP(Broker()), Timeout: Patience}
	topic := Unique(t)
	created, err := client.CreateTopics(patient(t), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}},
	})
	Must(t, err, "create")
	Must(t, created.Errors[topic], "create")
	created, err = client.CreateTopics(patient(t), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}},
	})
	Must(t, err, "create again")
	Equal(t, errors.Is(created.Errors[topic], kafka.TopicAlreadyExists), true, "made twice")
	w := writer(t, "")
	w.Topic = ""
	w.Balancer = &kafka.RoundRobin{}
	Must(t, w.WriteMessages(patient(t), kafka.Message{Topic: topic}, kafka.Message{Topic: topic}), "write")
	offsets, err := client.ListOffsets(patient(t), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1)}},
	})
	Must(t, err, "offsets")
	total := int64(0)
	for _, of := range offsets.Topics[topic] {
		Must(t, of.Error, "offset")
		total += of.LastOffset
	}
	Equal(t, total, 2, "records in both partitions")
	deleted, err := client.DeleteTopics(patient(t), &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	Must(t, err, "delete")
	Must(t, deleted.Errors[topic], "delete")
}
