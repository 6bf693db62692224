// The tutorial's programs and everyday use. One file for both libraries: what they are called, library_test.go says.
package library

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// The tutorials dial amqp://guest:guest@localhost:5672/; the runner names the port.
func address() string {
	if url := os.Getenv("AMQP_URL"); url != "" {
		return url
	}
	return "amqp://guest:guest@localhost:5672/"
}

func failOnError(t *testing.T, err error, msg string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %s", msg, err)
	}
}

func open(t *testing.T) (*Connection, *Channel) {
	t.Helper()
	conn, err := Dial(address())
	failOnError(t, err, "Failed to connect to RabbitMQ")
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	return conn, ch
}

func next(t *testing.T, msgs <-chan Delivery) Delivery {
	t.Helper()
	select {
	case d, ok := <-msgs:
		if !ok {
			t.Fatal("the deliveries ended")
		}
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("no delivery came")
	}
	panic("unreachable")
}

func TestHello(t *testing.T) {
	conn, err := Dial(address())
	failOnError(t, err, "Failed to connect to RabbitMQ")
	defer conn.Close()

	ch, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	defer ch.Close()

	q, err := ch.QueueDeclare("hello", false, false, false, false, nil)
	failOnError(t, err, "Failed to declare a queue")

	body := "Hello World!"
	err = publish(ch, "", q.Name, Publishing{ContentType: "text/plain", Body: []byte(body)})
	failOnError(t, err, "Failed to publish a message")

	msgs, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	failOnError(t, err, "Failed to register a consumer")
	if d := next(t, msgs); string(d.Body) != body || d.ContentType != "text/plain" {
		t.Fatalf("Received a message: %s (%s)", d.Body, d.ContentType)
	}
}

func TestWorkQueueIsSharedAndAcknowledged(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare(name+"-work", true, false, false, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	defer ch.QueueDelete(q.Name, false, false, false)
	failOnError(t, ch.Qos(1, 0, false), "Failed to set QoS")
	for i := 0; i < 10; i++ {
		err = publish(ch, "", q.Name, Publishing{DeliveryMode: Persistent, Body: []byte(fmt.Sprint(i))})
		failOnError(t, err, "Failed to publish a message")
	}
	msgs, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	failOnError(t, err, "Failed to register a consumer")
	for i := 0; i < 10; i++ {
		d := next(t, msgs)
		if string(d.Body) != fmt.Sprint(i) || d.DeliveryTag != uint64(i+1) {
			t.Fatalf("message %d is %s with tag %d", i, d.Body, d.DeliveryTag)
		}
		select {
		case early := <-msgs:
			t.Fatalf("%s came before the acknowledgement", early.Body)
		case <-time.After(5 * time.Millisecond):
		}
		failOnError(t, d.Ack(false), "Failed to acknowledge")
	}
}

func TestConfirms(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	failOnError(t, ch.Confirm(false), "Failed to select confirms")
	confirms := ch.NotifyPublish(make(chan Confirmation, 100))
	for i := 0; i < 100; i++ {
		failOnError(t, publish(ch, "", q.Name, Publishing{Body: []byte("x")}), "Failed to publish")
	}
	for i := uint64(1); i <= 100; i++ {
		select {
		case c := <-confirms:
			if !c.Ack || c.DeliveryTag != i {
				t.Fatalf("confirmation %d is %+v", i, c)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("confirmation %d never came", i)
		}
	}
	found, err := ch.QueueInspect(q.Name)
	failOnError(t, err, "Failed to inspect")
	if found.Messages != 100 || found.Consumers != 0 {
		t.Fatalf("%+v", found)
	}
}

func TestTopicExchange(t *testing.T) {
	_, ch := open(t)
	failOnError(t, ch.ExchangeDeclare(name+"-logs", "topic", false, true, false, false, nil), "Failed to declare an exchange")
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	failOnError(t, ch.QueueBind(q.Name, "kern.*", name+"-logs", false, nil), "Failed to bind")
	msgs, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	failOnError(t, err, "Failed to register a consumer")
	for _, key := range []string{"auth.info", "kern.critical", "kern.a.b", "kern.info"} {
		failOnError(t, publish(ch, name+"-logs", key, Publishing{Body: []byte(key)}), "Failed to publish")
	}
	for _, key := range []string{"kern.critical", "kern.info"} {
		if d := next(t, msgs); string(d.Body) != key || d.RoutingKey != key || d.Exchange != name+"-logs" {
			t.Fatalf("%s came with key %s through %s", d.Body, d.RoutingKey, d.Exchange)
		}
	}
}

func TestHeadersTablesComeBack(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	sent := Table{
		"byte": byte(1), "int16": int16(-2), "int32": int32(-3), "int64": int64(-4), "bool": true, "string": "s",
		"float32": float32(1.5), "float64": 2.5, "time": time.Unix(1700000000, 0), "nil": nil, "bytes": []byte{0, 255},
		"table": Table{"k": "v"}, "list": []interface{}{int32(1), "two"}, "decimal": Decimal{Scale: 2, Value: 314},
	}
	failOnError(t, publish(ch, "", q.Name, Publishing{Headers: sent, Body: []byte("x")}), "Failed to publish")
	var got Delivery
	var ok bool
	for deadline := time.Now().Add(10 * time.Second); !ok && time.Now().Before(deadline); {
		got, ok, err = ch.Get(q.Name, true)
		failOnError(t, err, "Failed to get")
	}
	for key, value := range sent {
		if fmt.Sprintf("%T %v", got.Headers[key], got.Headers[key]) != fmt.Sprintf("%T %v", value, value) {
			t.Errorf("%s: %T %v came back as %T %v", key, value, value, got.Headers[key], got.Headers[key])
		}
	}
}

func TestNackRequeuesAndReturnsComeBack(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	msgs, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	failOnError(t, err, "Failed to register a consumer")
	failOnError(t, publish(ch, "", q.Name, Publishing{Body: []byte("again")}), "Failed to publish")
	first := next(t, msgs)
	failOnError(t, first.Nack(false, true), "Failed to nack")
	second := next(t, msgs)
	if first.Redelivered || !second.Redelivered || string(second.Body) != "again" {
		t.Fatalf("first %v, second %v", first.Redelivered, second.Redelivered)
	}
	returns := ch.NotifyReturn(make(chan Return, 1))
	failOnError(t, publishMandatory(ch, "", "no-such-queue-"+name, Publishing{Body: []byte("lost")}), "Failed to publish")
	select {
	case r := <-returns:
		if r.ReplyCode != 312 || r.ReplyText != "NO_ROUTE" || string(r.Body) != "lost" {
			t.Fatalf("%+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was returned")
	}
}

func TestErrorsCloseTheChannelAndNameTheReason(t *testing.T) {
	conn, ch := open(t)
	closed := ch.NotifyClose(make(chan *Error, 1))
	_, err := ch.QueueInspect("missing-" + name)
	if err == nil || err.Error() != "Exception (404) Reason: \"NOT_FOUND - no queue 'missing-"+name+"' in vhost '/'\"" {
		t.Fatalf("%v", err)
	}
	if reason := <-closed; reason == nil || reason.Code != 404 || !reason.Server {
		t.Fatalf("%v", reason)
	}
	if conn.IsClosed() {
		t.Fatal("the connection was closed as well")
	}
}

func TestTransaction(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	failOnError(t, ch.Tx(), "Failed to select")
	failOnError(t, publish(ch, "", q.Name, Publishing{Body: []byte("undone")}), "Failed to publish")
	failOnError(t, ch.TxRollback(), "Failed to roll back")
	failOnError(t, publish(ch, "", q.Name, Publishing{Body: []byte("done")}), "Failed to publish")
	failOnError(t, ch.TxCommit(), "Failed to commit")
	d, ok, err := ch.Get(q.Name, true)
	failOnError(t, err, "Failed to get")
	if !ok || string(d.Body) != "done" || d.MessageCount != 0 {
		t.Fatalf("%v %s", ok, d.Body)
	}
}

func TestManyChannelsAtOnce(t *testing.T) {
	conn, _ := open(t)
	done := make(chan error)
	for i := 0; i < 20; i++ {
		go func(i int) {
			done <- func() error {
				ch, err := conn.Channel()
				if err != nil {
					return err
				}
				q, err := ch.QueueDeclare("", false, false, true, false, nil)
				if err != nil {
					return err
				}
				msgs, err := ch.Consume(q.Name, "", true, false, false, false, nil)
				if err != nil {
					return err
				}
				for n := 0; n < 50; n++ {
					if err := publish(ch, "", q.Name, Publishing{Body: []byte(fmt.Sprint(n))}); err != nil {
						return err
					}
				}
				for n := 0; n < 50; n++ {
					if d := <-msgs; string(d.Body) != fmt.Sprint(n) {
						return fmt.Errorf("channel %d: %s came instead of %d", i, d.Body, n)
					}
				}
				return ch.Close()
			}()
		}(i)
	}
	for i := 0; i < 20; i++ {
		failOnError(t, <-done, "a channel failed")
	}
}
