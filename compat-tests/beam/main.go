// Beam's tutorial over a topic: numbers in fixed windows of ten seconds by their records' times, each doubled into one
// topic and tripled into another. Runs on Beam's local runner and ends with what the topic holds at its start.
//
//	KAFKA=host:port go run .
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const windowSize = 10 * time.Second

func init() {
	register.DoFn3x1[context.Context, []byte, func(beam.EventTime, int64), error](&readFn{})
	register.DoFn3x1[context.Context, beam.Window, int64, error](&writeFn{})
	register.Emitter2[beam.EventTime, int64]()
	register.Function1x1(double)
	register.Function1x1(triple)
}

func double(x int64) int64 { return x * 2 }

func triple(x int64) int64 { return x * 3 }

// readFn reads a topic of one partition up to the end that it has now.
type readFn struct {
	Broker, Topic string
}

func (fn *readFn) ProcessElement(ctx context.Context, _ []byte, emit func(beam.EventTime, int64)) error {
	start := map[string]map[int32]kgo.Offset{fn.Topic: {0: kgo.NewOffset().AtStart()}}
	client, err := kgo.NewClient(kgo.SeedBrokers(fn.Broker), kgo.ConsumePartitions(start))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, fn.Topic)
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(fn.Topic, 0)
	for next := int64(0); next < end.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			var row struct{ X int64 }
			if err := json.Unmarshal(record.Value, &row); err != nil {
				return fmt.Errorf("offset %d: %w", record.Offset, err)
			}
			emit(mtime.FromTime(record.Timestamp), row.X)
			next = record.Offset + 1
		}
	}
	return nil
}

// row is what goes out, as Flink's JSON format writes it.
type row struct {
	Start string `json:"window_start"`
	End   string `json:"window_end"`
	X     int64  `json:"x"`
}

// writeFn writes numbers with the windows that they are in.
type writeFn struct {
	Broker, Topic string
	client        *kgo.Client
}

func (fn *writeFn) Setup() (err error) {
	// Plain, because the test's small reader takes nothing apart.
	plain := kgo.ProducerBatchCompression(kgo.NoCompression())
	fn.client, err = kgo.NewClient(kgo.SeedBrokers(fn.Broker), kgo.DefaultProduceTopic(fn.Topic), plain)
	return err
}

func (fn *writeFn) ProcessElement(ctx context.Context, in beam.Window, x int64) error {
	bounds := in.(window.IntervalWindow)
	text := func(at typex.EventTime) string { return at.ToTime().UTC().Format(time.DateTime) }
	value, err := json.Marshal(row{text(bounds.Start), text(bounds.End), x})
	if err != nil {
		return err
	}
	return fn.client.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
}

func (fn *writeFn) Teardown() { fn.client.Close() }

func main() {
	broker := os.Getenv("KAFKA")
	beam.Init()
	pipeline, scope := beam.NewPipelineWithRoot()
	numbers := beam.ParDo(scope, &readFn{broker, "nums"}, beam.Impulse(scope))
	windowed := beam.WindowInto(scope, window.NewFixedWindows(windowSize), numbers)
	beam.ParDo0(scope, &writeFn{Broker: broker, Topic: "doubled"}, beam.ParDo(scope, double, windowed))
	beam.ParDo0(scope, &writeFn{Broker: broker, Topic: "tripled"}, beam.ParDo(scope, triple, windowed))
	if _, err := prism.Execute(context.Background(), pipeline); err != nil {
		log.Fatal(err)
	}
}
