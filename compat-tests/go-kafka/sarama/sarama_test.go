// Package sarama drives the broker with IBM/sarama.
package sarama

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	. "warren.invalid/compat-kafka/support"
)

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func connected(t *testing.T, c *sarama.Config) sarama.Client {
	t.Helper()
	client, err := sarama.NewClient([]string{Broker()}, c)
	Must(t, err, "client")
	t.Cleanup(func() { client.Close() })
	return client
}

func producer(t *testing.T, c *sarama.Config) sarama.SyncProducer {
	t.Helper()
	p, err := sarama.NewSyncProducerFromClient(connected(t, c))
	Must(t, err, "producer")
	t.Cleanup(func() { p.Close() })
	return p
}

func send(t *testing.T, p sarama.SyncProducer, topic, value string) int64 {
	t.Helper()
	_, offset, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)})
	Must(t, err, "send")
	return offset
}

// read takes so many messages of partition 0 from its start.
func read(t *testing.T, c *sarama.Config, topic string, number int) []*sarama.ConsumerMessage {
	t.Helper()
	consumer, err := sarama.NewConsumerFromClient(connected(t, c))
	Must(t, err, "consumer")
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	Must(t, err, "partition")
	defer partition.Close()
	var got []*sarama.ConsumerMessage
	for len(got) < number {
		select {
		case message := <-partition.Messages():
			got = append(got, message)
		case <-time.After(Patience):
			t.Fatalf("%d of %d messages came", len(got), number)
		}
	}
	return got
}

func TestHello(t *testing.T) {
	topic := Unique(t)
	p := producer(t, config())
	_, offset, err := p.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder("Hello"),
		Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte("v")}},
	})
	Must(t, err, "send to a topic that is made on first use")
	Equal(t, offset, 0, "offset")
	got := read(t, config(), topic, 1)[0]
	Equal(t, string(got.Key), "k", "key")
	Equal(t, string(got.Value), "Hello", "value")
	Equal(t, string(got.Headers[0].Value), "v", "header")
	Equal(t, time.Since(got.Timestamp) < time.Hour, true, "timestamp")
}

func TestEveryProtocolVersionThatKafka4Serves(t *testing.T) {
	for _, version := range []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.V2_8_0_0, sarama.V3_6_0_0, sarama.V4_0_0_0} {
		t.Run(version.String(), func(t *testing.T) {
			c := config()
			c.Version = version
			topic := Unique(t)
			send(t, producer(t, c), topic, version.String())
			Equal(t, string(read(t, c, topic, 1)[0].Value), version.String(), "value")
		})
	}
}

func TestEveryCodec(t *testing.T) {
	for _, codec := range []sarama.CompressionCodec{
		sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	} {
		t.Run(codec.String(), func(t *testing.T) {
			c := config()
			c.Producer.Compression = codec
			topic := Unique(t)
			p := producer(t, c)
			var batch []*sarama.ProducerMessage
			for i := range 100 {
				batch = append(batch, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(fmt.Sprint("text ", i))})
			}
			Must(t, p.SendMessages(batch), "send")
			Equal(t, string(read(t, c, topic, 100)[99].Value), "text 99", "the last")
		})
	}
}

func TestAnIdempotentProducer(t *testing.T) {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	c.Producer.RequiredAcks = sarama.WaitForAll
	topic := Unique(t)
	p := producer(t, c)
	for i := range int64(20) {
		Equal(t, send(t, p, topic, "x"), i, "offset")
	}
}

func TestATransaction(t *testing.T) {
	c := config()
	c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Transaction.ID = Unique(t)
	topic := Unique(t)
	send(t, producer(t, config()), topic, "before")
	p := producer(t, c)
	Must(t, p.BeginTxn(), "begin")
	send(t, p, topic, "aborted")
	Must(t, p.AbortTxn(), "abort")
	Must(t, p.BeginTxn(), "begin")
	send(t, p, topic, "committed")
	Must(t, p.CommitTxn(), "commit")
	reader := config()
	reader.Consumer.IsolationLevel = sarama.ReadCommitted
	got := read(t, reader, topic, 2)
	Equal(t, string(got[1].Value), "committed", "the aborted one is passed over")
}

// taking hands what a group's member gets to a channel, and marks it.
type taking struct{ got chan *sarama.ConsumerMessage }

func (taking) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (taking) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h taking) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			h.got <- message
		case <-session.Context().Done():
			return nil
		}
	}
}

// member consumes with a group until it has so many messages, then leaves; what it marked is committed.
func member(t *testing.T, group, topic string, number int) []string {
	t.Helper()
	g, err := sarama.NewConsumerGroupFromClient(group, connected(t, config()))
	Must(t, err, "group")
	ctx, cancel := context.WithCancel(context.Background())
	h := taking{make(chan *sarama.ConsumerMessage)}
	ended := make(chan error, 1)
	go func() { ended <- g.Consume(ctx, []string{topic}, h) }()
	var values []string
	for len(values) < number {
		select {
		case message := <-h.got:
			values = append(values, string(message.Value))
		case err := <-ended:
			t.Fatalf("the group ended: %v", err)
		case <-time.After(Patience):
			t.Fatalf("%d of %d messages came", len(values), number)
		}
	}
	cancel()
	Must(t, <-ended, "consume")
	Must(t, g.Close(), "close")
	return values
}

func TestAGroupGoesOnWhereItCommitted(t *testing.T) {
	topic, group := Unique(t), Unique(t)
	p := producer(t, config())
	for i := range 10 {
		send(t, p, topic, fmt.Sprint(i))
	}
	Equal(t, member(t, group, topic, 10)[9], "9", "the last of the first member")
	send(t, p, topic, "after")
	Equal(t, member(t, group, topic, 1)[0], "after", "the first of the second member")
}

func TestAdministration(t *testing.T) {
	admin, err := sarama.NewClusterAdminFromClient(connected(t, config()))
	Must(t, err, "admin")
	topic := Unique(t)
	retention := "60000"
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	Must(t, admin.CreateTopic(topic, detail, false), "create")
	again := admin.CreateTopic(topic, detail, false)
	Equal(t, errors.Is(again, sarama.ErrTopicAlreadyExists), true, fmt.Sprint("made twice: ", again))
	described, err := admin.DescribeTopics([]string{topic})
	Must(t, err, "describe")
	Equal(t, len(described[0].Partitions), 3, "partitions")
	configs, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
	Must(t, err, "describe config")
	Equal(t, configs[0].Value, retention, "retention.ms")
	Must(t, admin.CreatePartitions(topic, 5, nil, false), "create partitions")
	brokers, _, err := admin.DescribeCluster()
	Must(t, err, "describe cluster")
	Equal(t, len(brokers), 1, "brokers")
	groups, err := admin.ListConsumerGroups()
	Must(t, err, "list groups")
	Equal(t, groups != nil, true, "groups")
	Must(t, admin.DeleteTopic(topic), "delete")
}
