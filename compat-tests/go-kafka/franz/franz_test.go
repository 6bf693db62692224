// Package franz drives the broker with twmb/franz-go and its admin client, with their default settings.
package franz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	. "warren.invalid/compat-kafka/support"
)

// client opens a client that lives as long as the test.
func client(t *testing.T, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(Broker())}, options...)...)
	Must(t, err, "client")
	t.Cleanup(c.Close)
	return c
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func topic(t *testing.T, partitions int32) string {
	t.Helper()
	name := Unique(t)
	_, err := kadm.NewClient(client(t)).CreateTopic(patient(t), partitions, 1, nil, name)
	Must(t, err, "create topic")
	return name
}

// read polls until that many records came.
func read(t *testing.T, c *kgo.Client, number int) []*kgo.Record {
	t.Helper()
	ctx := patient(t)
	var records []*kgo.Record
	for len(records) < number {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records came", len(records), number)
		}
		for _, failed := range fetches.Errors() {
			t.Fatalf("fetch of %s-%d: %v", failed.Topic, failed.Partition, failed.Err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func values(records []*kgo.Record) []string {
	var texts []string
	for _, r := range records {
		texts = append(texts, string(r.Value))
	}
	return texts
}

func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	name := topic(t, 1)
	sent := &kgo.Record{
		Topic: name, Key: []byte("k"), Value: []byte("v"),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}},
	}
	Must(t, client(t).ProduceSync(patient(t), sent, &kgo.Record{Topic: name, Key: []byte("k")}).FirstErr(), "produce")
	got := read(t, client(t, kgo.ConsumeTopics(name)), 2)
	Equal(t, string(got[0].Key), "k", "key")
	Equal(t, string(got[0].Value), "v", "value")
	Equal(t, len(got[0].Headers), 2, "headers")
	Equal(t, got[0].Headers[1].Value == nil, true, "a header without a value")
	Equal(t, got[1].Value == nil, true, "a tombstone")
	Equal(t, got[1].Offset, 1, "offset")
}

func TestATopicIsMadeOnFirstUse(t *testing.T) {
	name := Unique(t)
	c := client(t, kgo.AllowAutoTopicCreation())
	Must(t, c.ProduceSync(patient(t), &kgo.Record{Topic: name, Value: []byte("first")}).FirstErr(), "produce")
	Equal(t, values(read(t, client(t, kgo.ConsumeTopics(name)), 1))[0], "first", "value")
}

func TestEveryCodec(t *testing.T) {
	for label, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression(), "none": kgo.NoCompression(),
	} {
		t.Run(label, func(t *testing.T) {
			name := topic(t, 1)
			c := client(t, kgo.ProducerBatchCompression(codec))
			var records []*kgo.Record
			for i := range 200 {
				records = append(records, &kgo.Record{Topic: name, Value: fmt.Appendf(nil, "compressible %d", i)})
			}
			Must(t, c.ProduceSync(patient(t), records...).FirstErr(), "produce")
			got := values(read(t, client(t, kgo.ConsumeTopics(name)), 200))
			Equal(t, got[199], "compressible 199", "the last")
		})
	}
}

func TestAGroupGoesOnWhereItCommitted(t *testing.T) {
	name, group := topic(t, 3), Unique(t)
	producer := client(t)
	for i := range 30 {
		Must(t, producer.ProduceSync(patient(t), &kgo.Record{Topic: name, Value: fmt.Appendf(nil, "%d", i)}).FirstErr(), "produce")
	}
	first, err := kgo.NewClient(kgo.SeedBrokers(Broker()), kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.DisableAutoCommit())
	Must(t, err, "first member")
	read(t, first, 30)
	Must(t, first.CommitUncommittedOffsets(patient(t)), "commit")
	first.Close()
	Must(t, producer.ProduceSync(patient(t), &kgo.Record{Topic: name, Value: []byte("after")}).FirstErr(), "produce")
	second := client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(name))
	Equal(t, values(read(t, second, 1))[0], "after", "what the second member begins with")
}

func TestTwoMembersShareATopic(t *testing.T) {
	name, group := topic(t, 4), Unique(t)
	member := func() *kgo.Client {
		return client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	a := member()
	producer := client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	send := func(round int) {
		for p := range int32(4) {
			r := &kgo.Record{Topic: name, Partition: p, Value: fmt.Appendf(nil, "%d-%d", round, p)}
			Must(t, producer.ProduceSync(patient(t), r).FirstErr(), "produce")
		}
	}
	send(0)
	read(t, a, 4)
	b := member()
	admin := kadm.NewClient(client(t))
	ctx := patient(t)
	for {
		// Both must poll, or neither learns of the rebalance.
		a.PollRecords(soon(ctx), 10)
		b.PollRecords(soon(ctx), 10)
		described, err := admin.DescribeGroups(ctx, group)
		Must(t, err, "describe group")
		shares := map[string]int{}
		for _, m := range described[group].Members {
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, of := range assigned.Topics {
					shares[m.MemberID] += len(of.Partitions)
				}
			}
		}
		if sizes := slices.Sorted(maps.Values(shares)); described[group].State == "Stable" && slices.Equal(sizes, []int{2, 2}) {
			return
		}
	}
}

func TestATransactionIsReadWholeOrNotAtAll(t *testing.T) {
	name := topic(t, 2)
	producer := client(t, kgo.TransactionalID(Unique(t)), kgo.DefaultProduceTopic(name))
	for i, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		Must(t, producer.BeginTransaction(), "begin")
		for j := range 10 {
			producer.Produce(patient(t), &kgo.Record{Value: fmt.Appendf(nil, "%d-%d", i, j)}, nil)
		}
		Must(t, producer.Flush(patient(t)), "flush")
		Must(t, producer.EndTransaction(patient(t), end), "end")
	}
	reader := client(t, kgo.ConsumeTopics(name), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for _, value := range values(read(t, reader, 10)) {
		Equal(t, value[:2], "1-", "a committed record")
	}
}

func TestConsumeTransformProduceExactlyOnce(t *testing.T) {
	from, to, group := topic(t, 1), topic(t, 1), Unique(t)
	producer := client(t)
	for i := range 50 {
		Must(t, producer.ProduceSync(patient(t), &kgo.Record{Topic: from, Value: fmt.Appendf(nil, "%d", i)}).FirstErr(), "produce")
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(Broker()), kgo.TransactionalID(Unique(t)), kgo.ConsumerGroup(group), kgo.ConsumeTopics(from),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.DefaultProduceTopic(to))
	Must(t, err, "session")
	defer session.Close()
	ctx := patient(t)
	for done := 0; done < 50; {
		fetches := session.PollFetches(ctx)
		Must(t, ctx.Err(), "poll")
		Must(t, session.Begin(), "begin")
		for _, r := range fetches.Records() {
			session.Produce(ctx, &kgo.Record{Value: append([]byte("x"), r.Value...)}, nil)
		}
		committed, err := session.End(ctx, kgo.TryCommit)
		Must(t, err, "end")
		if committed {
			done += fetches.NumRecords()
		}
	}
	got := values(read(t, client(t, kgo.ConsumeTopics(to), kgo.FetchIsolationLevel(kgo.ReadCommitted())), 50))
	for i, value := range got {
		Equal(t, value, fmt.Sprintf("x%d", i), "in order")
	}
	offsets, err := kadm.NewClient(producer).FetchOffsets(ctx, group)
	Must(t, err, "fetch offsets")
	committed, _ := offsets.Lookup(from, 0)
	Equal(t, committed.At, 50, "the group's offset")
}

func TestOffsetsByTimeAndDeletedRecords(t *testing.T) {
	name := topic(t, 1)
	producer := client(t)
	Must(t, producer.ProduceSync(patient(t), &kgo.Record{Topic: name, Value: []byte("0")}).FirstErr(), "produce")
	second := producer.ProduceSync(patient(t), &kgo.Record{Topic: name, Value: []byte("1")})
	Must(t, second.FirstErr(), "produce")
	admin := kadm.NewClient(producer)
	after, err := admin.ListOffsetsAfterMilli(patient(t), second[0].Record.Timestamp.UnixMilli()+60_000, name)
	Must(t, err, "offsets after a time to come")
	end, _ := after.Lookup(name, 0)
	Equal(t, end.Offset, 2, "nothing is so young: the end")
	_, err = admin.DeleteRecords(patient(t), kadm.Offsets{name: {0: {Topic: name, Partition: 0, At: 1}}})
	Must(t, err, "delete records")
	starts, err := admin.ListStartOffsets(patient(t), name)
	Must(t, err, "start offsets")
	start, _ := starts.Lookup(name, 0)
	Equal(t, start.Offset, 1, "start")
	Equal(t, values(read(t, client(t, kgo.ConsumeTopics(name)), 1))[0], "1", "the first that is left")
}

func TestErrorsOfTopics(t *testing.T) {
	admin := kadm.NewClient(client(t))
	name := topic(t, 1)
	_, err := admin.CreateTopic(patient(t), 1, 1, nil, name)
	Equal(t, errors.Is(err, kerr.TopicAlreadyExists), true, fmt.Sprint("made twice: ", err))
	_, err = admin.CreateTopic(patient(t), 1, 1, nil, "not/allowed")
	Equal(t, errors.Is(err, kerr.InvalidTopicException), true, fmt.Sprint("a bad name: ", err))
	_, err = admin.CreateTopic(patient(t), 1, 3, nil, Unique(t))
	Equal(t, errors.Is(err, kerr.InvalidReplicationFactor), true, fmt.Sprint("three replicas: ", err))
	_, err = admin.DeleteTopic(patient(t), Unique(t))
	Equal(t, errors.Is(err, kerr.UnknownTopicOrPartition), true, fmt.Sprint("an unknown topic: ", err))
}

func soon(ctx context.Context) context.Context {
	short, cancel := context.WithTimeout(ctx, Patience/60)
	context.AfterFunc(short, cancel)
	return short
}

func TestLogins(t *testing.T) {
	logins := map[string]func(user, password string) sasl.Mechanism{
		"PLAIN":         func(u, p string) sasl.Mechanism { return plain.Auth{User: u, Pass: p}.AsMechanism() },
		"SCRAM-SHA-256": func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha256Mechanism() },
		"SCRAM-SHA-512": func(u, p string) sasl.Mechanism { return scram.Auth{User: u, Pass: p}.AsSha512Mechanism() },
	}
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			Must(t, client(t, kgo.SeedBrokers(Guarded(t)), kgo.SASL(login("guest", "guest"))).Ping(patient(t)), "ping")
			err := client(t, kgo.SeedBrokers(Guarded(t)), kgo.SASL(login("guest", "wrong"))).Ping(patient(t))
			if !errors.Is(err, kerr.SaslAuthenticationFailed) {
				t.Fatalf("a wrong password: %v", err)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	admin := kadm.NewClient(client(t))
	user := Unique(t)
	set := kadm.UpsertSCRAM{User: user, Mechanism: kadm.ScramSha512, Iterations: 8192, Password: "secret"}
	_, err := admin.AlterUserSCRAMs(patient(t), nil, []kadm.UpsertSCRAM{set})
	Must(t, err, "upsert")
	described, err := admin.DescribeUserSCRAMs(patient(t), user)
	Must(t, err, "describe")
	info := described[user].CredInfos[0]
	Equal(t, info.Mechanism, kadm.ScramSha512, "mechanism")
	Equal(t, info.Iterations, 8192, "iterations")
	gone := kadm.DeleteSCRAM{User: user, Mechanism: kadm.ScramSha512}
	altered, err := admin.AlterUserSCRAMs(patient(t), []kadm.DeleteSCRAM{gone, gone}, nil)
	if err == nil {
		err = altered[user].Err
	}
	if !errors.Is(err, kerr.DuplicateResource) {
		t.Fatalf("twice in one request: %v", err)
	}
}
