package library

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const patience = 15 * time.Second

// unique makes a name no other run uses, so that the same broker can be asked twice.
func unique(t *testing.T) string {
	return fmt.Sprintf("go-%s-%d", t.Name(), time.Now().UnixNano())
}

func declare(t *testing.T, ch *amqp.Channel, name string, args amqp.Table) string {
	t.Helper()
	q, err := ch.QueueDeclare(name, false, false, true, false, args)
	failOnError(t, err, "Failed to declare "+name)
	return q.Name
}

func send(t *testing.T, ch *amqp.Channel, queue string, msg amqp.Publishing) {
	t.Helper()
	failOnError(t, publish(ch, "", queue, msg), "Failed to publish")
}

func text(body string) amqp.Publishing { return amqp.Publishing{Body: []byte(body)} }

// await takes one value, or fails when none comes.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("%s never came", what)
		panic("not reached")
	}
}

func poll(t *testing.T, ch *amqp.Channel, queue string) amqp.Delivery {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		d, ok, err := ch.Get(queue, true)
		failOnError(t, err, "Failed to get")
		if ok {
			return d
		}
	}
	t.Fatalf("nothing came to %s", queue)
	panic("not reached")
}

// counted waits until a queue has so many messages: RabbitMQ answers a count before what was published just now.
func counted(t *testing.T, ch *amqp.Channel, queue string, expected int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		found, err := ch.QueueInspect(queue)
		failOnError(t, err, "Failed to inspect")
		if found.Messages == expected {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d messages instead of %d", queue, found.Messages, expected)
		}
	}
}

// refused runs an action and compares the error that closes its channel.
func refused(t *testing.T, conn *amqp.Connection, code int, reason string, action func(*amqp.Channel) error) {
	t.Helper()
	ch, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = action(ch)
	if err == nil {
		// An asynchronous method is refused by closing.
		err = await(t, "the refusal", closed)
	}
	found, ok := err.(*amqp.Error)
	if !ok || found.Code != code || found.Reason != reason || !found.Server {
		t.Errorf("expected %d %q, got %v", code, reason, err)
	}
	if conn.IsClosed() {
		t.Fatal("the connection was closed as well")
	}
}

func TestDeferredConfirmsOfManyPublishers(t *testing.T) {
	conn, ch := open(t)
	q := declare(t, ch, unique(t), nil)
	var wg sync.WaitGroup
	for i := 0; i < 4; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ch, err := conn.Channel()
			if err != nil {
				t.Error(err)
				return
			}
			if err := ch.Confirm(false); err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var confirms []*amqp.DeferredConfirmation
			for n := 0; n < 250; n++ {
				c, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")})
				if err != nil {
					t.Error(err)
					return
				}
				confirms = append(confirms, c)
			}
			for n, c := range confirms {
				if acked, err := c.WaitContext(ctx); err != nil || !acked || c.DeliveryTag != uint64(n+1) {
					t.Errorf("publish %d: %v %v", n, acked, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	found, err := ch.QueueInspect(q)
	failOnError(t, err, "Failed to inspect")
	if found.Messages != 1000 {
		t.Fatalf("%d messages", found.Messages)
	}
}

func TestAFullQueueNacksAndAReturnComesBeforeItsAck(t *testing.T) {
	_, ch := open(t)
	q := declare(t, ch, unique(t), amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
	failOnError(t, ch.Confirm(false), "Failed to select confirms")
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 3))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	send(t, ch, q, text("fits"))
	send(t, ch, q, text("too much"))
	failOnError(t, publishMandatory(ch, "", "missing-"+q, text("lost")), "Failed to publish")
	for i, expected := range []bool{true, false, true} {
		if c := await(t, "a confirmation", confirms); c.Ack != expected || c.DeliveryTag != uint64(i+1) {
			t.Fatalf("%+v", c)
		}
	}
	select {
	case r := <-returns:
		if r.ReplyText != "NO_ROUTE" || r.RoutingKey != "missing-"+q {
			t.Fatalf("%+v", r)
		}
	default:
		t.Fatal("the ack came before the return")
	}
}

func TestNackAndRejectDeadLetter(t *testing.T) {
	_, ch := open(t)
	name := unique(t)
	dead := declare(t, ch, name+"-dead", nil)
	work := declare(t, ch, name+"-work", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	for i := 0; i < 4; i++ {
		send(t, ch, work, text(fmt.Sprint(i)))
	}
	msgs, err := ch.Consume(work, "", false, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	var got []amqp.Delivery
	for i := 0; i < 4; i++ {
		got = append(got, await(t, "a delivery", msgs))
	}
	failOnError(t, got[0].Reject(false), "Failed to reject")
	failOnError(t, got[2].Nack(true, false), "Failed to nack")
	failOnError(t, got[3].Ack(false), "Failed to ack")
	for i := 0; i < 3; i++ {
		d := poll(t, ch, dead)
		deaths, _ := d.Headers["x-death"].([]interface{})
		if string(d.Body) != fmt.Sprint(i) || len(deaths) != 1 {
			t.Fatalf("%s %v", d.Body, d.Headers)
		}
		death := deaths[0].(amqp.Table)
		if death["reason"] != "rejected" || death["queue"] != work || death["count"] != int64(1) || death["exchange"] != "" {
			t.Fatalf("%v", death)
		}
		if _, ok := death["time"].(time.Time); !ok {
			t.Fatalf("%v", death)
		}
	}
}

func TestATTLDeadLettersAndTakesTheExpirationAway(t *testing.T) {
	_, ch := open(t)
	name := unique(t)
	dead := declare(t, ch, name+"-dead", nil)
	work := declare(t, ch, name+"-work", amqp.Table{
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": int32(60000),
	})
	send(t, ch, work, amqp.Publishing{Expiration: "50", Body: []byte("short")})
	d := poll(t, ch, dead)
	death := d.Headers["x-death"].([]interface{})[0].(amqp.Table)
	if death["reason"] != "expired" || death["original-expiration"] != "50" || d.Expiration != "" {
		t.Fatalf("%v %q", death, d.Expiration)
	}
	if d.Headers["x-first-death-reason"] != "expired" || d.Headers["x-first-death-queue"] != work {
		t.Fatalf("%v", d.Headers)
	}
}

func TestPriorities(t *testing.T) {
	_, ch := open(t)
	q := declare(t, ch, unique(t), amqp.Table{"x-max-priority": int32(10)})
	for _, p := range []uint8{1, 10, 3, 7, 3, 0} {
		send(t, ch, q, amqp.Publishing{Priority: p, Body: []byte(fmt.Sprint(p))})
	}
	for _, expected := range []string{"10", "7", "3", "3", "1", "0"} {
		if d := poll(t, ch, q); string(d.Body) != expected {
			t.Fatalf("%s instead of %s", d.Body, expected)
		}
	}
}

func TestConsumerPriorities(t *testing.T) {
	_, ch := open(t)
	q := declare(t, ch, unique(t), nil)
	low, err := ch.Consume(q, "", true, false, false, false, amqp.Table{"x-priority": int32(-1)})
	failOnError(t, err, "Failed to consume")
	high, err := ch.Consume(q, "", true, false, false, false, amqp.Table{"x-priority": int32(5)})
	failOnError(t, err, "Failed to consume")
	for i := 0; i < 10; i++ {
		send(t, ch, q, text("x"))
	}
	for i := 0; i < 10; i++ {
		await(t, "a delivery to the higher consumer", high)
	}
	select {
	case <-low:
		t.Fatal("the lower consumer was served")
	default:
	}
}

func TestSingleActiveConsumer(t *testing.T) {
	_, ch := open(t)
	q := declare(t, ch, unique(t), amqp.Table{"x-single-active-consumer": true})
	first, err := ch.Consume(q, "first", true, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	second, err := ch.Consume(q, "second", true, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	for i := 0; i < 5; i++ {
		send(t, ch, q, text("x"))
		await(t, "a delivery to the active consumer", first)
	}
	failOnError(t, ch.Cancel("first", false), "Failed to cancel")
	send(t, ch, q, text("y"))
	if d := await(t, "a delivery to the next consumer", second); string(d.Body) != "y" {
		t.Fatalf("%s", d.Body)
	}
}

func TestHeadersExchange(t *testing.T) {
	_, ch := open(t)
	name := unique(t)
	failOnError(t, ch.ExchangeDeclare(name, "headers", false, true, false, false, nil), "Failed to declare")
	bindings := map[string]amqp.Table{
		"all":  {"x-match": "all", "a": int32(1), "b": "two"},
		"any":  {"x-match": "any", "a": int32(1), "b": "two"},
		"none": {"x-match": "any", "c": true},
	}
	for kind, arguments := range bindings {
		declare(t, ch, name+kind, nil)
		failOnError(t, ch.QueueBind(name+kind, "", name, false, arguments), "Failed to bind")
	}
	failOnError(t, ch.Confirm(false), "Failed to select confirms")
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 3))
	for i, headers := range []amqp.Table{{"a": int32(1)}, {"a": int32(1), "b": "two"}, {"d": nil}} {
		failOnError(t, publish(ch, name, "ignored", amqp.Publishing{Headers: headers, Body: []byte(fmt.Sprint(i))}), "Failed to publish")
		await(t, "a confirmation", confirms)
	}
	for kind, expected := range map[string]int{"all": 1, "any": 2, "none": 0} {
		counted(t, ch, name+kind, expected)
	}
}

func TestAlternateExchange(t *testing.T) {
	_, ch := open(t)
	name := unique(t)
	failOnError(t, ch.ExchangeDeclare(name+"-other", "fanout", false, true, false, false, nil), "Failed to declare")
	failOnError(t, ch.ExchangeDeclare(name, "direct", false, false, false, false, amqp.Table{"alternate-exchange": name + "-other"}), "Failed to declare")
	defer func() { failOnError(t, ch.ExchangeDelete(name, false, false), "Failed to delete") }()
	q := declare(t, ch, name, nil)
	failOnError(t, ch.QueueBind(q, "", name+"-other", false, nil), "Failed to bind")
	failOnError(t, publishMandatory(ch, name, "nowhere", text("caught")), "Failed to publish")
	if d := poll(t, ch, q); string(d.Body) != "caught" || d.Exchange != name {
		t.Fatalf("%s through %s", d.Body, d.Exchange)
	}
}

func TestQosPerConsumerAndPerChannel(t *testing.T) {
	conn, _ := open(t)
	for _, global := range []bool{false, true} {
		ch, err := conn.Channel()
		failOnError(t, err, "Failed to open a channel")
		q := declare(t, ch, unique(t), nil)
		failOnError(t, ch.Qos(2, 0, global), "Failed to set qos")
		for i := 0; i < 10; i++ {
			send(t, ch, q, text(fmt.Sprint(i)))
		}
		first, err := ch.Consume(q, "", false, false, false, false, nil)
		failOnError(t, err, "Failed to consume")
		second, err := ch.Consume(q, "", false, false, false, false, nil)
		failOnError(t, err, "Failed to consume")
		expected := 4
		if global {
			// 4.3 treats a global prefetch as one per consumer; every older version shares it.
			expected = 2
		}
		var got []amqp.Delivery
		quiet := time.After(patience)
		for len(got) < expected {
			select {
			case d := <-first:
				got = append(got, d)
			case d := <-second:
				got = append(got, d)
			case <-quiet:
				t.Fatalf("%d deliveries instead of %d", len(got), expected)
			}
		}
		counted(t, ch, q, 10-expected)
		failOnError(t, got[0].Ack(false), "Failed to ack")
		select {
		case <-first:
		case <-second:
		case <-time.After(patience):
			t.Fatal("an ack brought nothing")
		}
		failOnError(t, ch.Close(), "Failed to close")
	}
}

func TestTheConsumerIsToldWhenItsQueueGoes(t *testing.T) {
	conn, ch := open(t)
	q := declare(t, ch, unique(t), nil)
	cancelled := ch.NotifyCancel(make(chan string, 1))
	msgs, err := ch.Consume(q, "the-tag", false, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	other, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	_, err = other.QueueDelete(q, false, false, false)
	failOnError(t, err, "Failed to delete")
	if tag := await(t, "the cancellation", cancelled); tag != "the-tag" {
		t.Fatal(tag)
	}
	if _, open := <-msgs; open {
		t.Fatal("a delivery came after the cancellation")
	}
}

func TestExclusiveQueuesAreLockedAndGoWithTheirConnection(t *testing.T) {
	conn, ch := open(t)
	// A short name: texts are cut at 255 characters.
	q := declare(t, ch, fmt.Sprintf("lock-%d", time.Now().UnixNano()), nil)
	other, _ := open(t)
	refused(t, other, 405, fmt.Sprintf("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.", q), func(ch *amqp.Channel) error {
		_, err := ch.QueueInspect(q)
		return err
	})
	failOnError(t, conn.Close(), "Failed to close")
	// Gone before close-ok.
	refused(t, other, 404, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", q), func(ch *amqp.Channel) error {
		_, err := ch.QueueInspect(q)
		return err
	})
}

func TestChannelErrorsWithCodeAndText(t *testing.T) {
	conn, ch := open(t)
	q := declare(t, ch, unique(t), nil)
	missing := "missing-" + q
	for _, row := range []struct {
		code   int
		reason string
		action func(*amqp.Channel) error
	}{
		{404, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", missing), func(ch *amqp.Channel) error { return publish(ch, missing, "", text("x")) }},
		{404, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", missing), func(ch *amqp.Channel) error {
			_, err := ch.Consume(missing, "", false, false, false, false, nil)
			return err
		}},
		{404, fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", missing), func(ch *amqp.Channel) error { return ch.QueueBind(q, "", missing, false, nil) }},
		{406, "PRECONDITION_FAILED - unknown delivery tag 7", func(ch *amqp.Channel) error { return ch.Ack(7, false) }},
		{406, fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '%s' in vhost '/': received the value '5' of type 'signedint' but current is none", q), func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q, false, false, true, false, amqp.Table{"x-max-length": int32(5)})
			return err
		}},
		{406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'fanout' but current is 'direct'", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("amq.direct", "fanout", true, false, false, false, nil)
		}},
		{403, "ACCESS_REFUSED - exchange name 'amq.go' contains reserved prefix 'amq.*'", func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("amq.go", "fanout", true, false, false, false, nil)
		}},
		{403, fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", q), func(ch *amqp.Channel) error {
			if _, err := ch.Consume(q, "one", false, true, false, false, nil); err != nil {
				return err
			}
			_, err := ch.Consume(q, "two", false, true, false, false, nil)
			return err
		}},
	} {
		refused(t, conn, row.code, row.reason, row.action)
	}
}

func TestDirectReplyTo(t *testing.T) {
	conn, server := open(t)
	q := declare(t, server, unique(t), nil)
	calls, err := server.Consume(q, "", true, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	go func() {
		for call := range calls {
			_ = publish(server, "", call.ReplyTo, amqp.Publishing{CorrelationId: call.CorrelationId, Body: append([]byte("re: "), call.Body...)})
		}
	}()
	client, err := conn.Channel()
	failOnError(t, err, "Failed to open a channel")
	replies, err := client.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	failOnError(t, err, "Failed to consume replies")
	for i := 0; i < 5; i++ {
		send(t, client, q, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: fmt.Sprint(i), Body: []byte("call")})
		if d := await(t, "a reply", replies); d.CorrelationId != fmt.Sprint(i) || string(d.Body) != "re: call" {
			t.Fatalf("%+v", d)
		}
	}
}

func TestQuorumQueueRedeliversWithACount(t *testing.T) {
	_, ch := open(t)
	name := unique(t)
	_, err := ch.QueueDeclare(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	failOnError(t, err, "Failed to declare")
	defer func() { _, _ = ch.QueueDelete(name, false, false, false) }()
	msgs, err := ch.Consume(name, "", false, false, false, false, nil)
	failOnError(t, err, "Failed to consume")
	send(t, ch, name, text("again"))
	for i := int64(0); i < 3; i++ {
		d := await(t, "a delivery", msgs)
		if count, ok := d.Headers["x-delivery-count"]; (ok || i > 0) && fmt.Sprint(count) != fmt.Sprint(i) {
			t.Fatalf("delivery %d has %v", i, d.Headers)
		}
		failOnError(t, d.Nack(false, true), "Failed to nack")
	}
}

func TestAServerNamedQueueAndItsExpiry(t *testing.T) {
	conn, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, false, false, amqp.Table{"x-expires": int32(200)})
	failOnError(t, err, "Failed to declare")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		// Asking counts as use in no version; every refusal costs a channel.
		probe, err := conn.Channel()
		failOnError(t, err, "Failed to open a channel")
		time.Sleep(300 * time.Millisecond)
		_, err = probe.QueueDeclarePassive(q.Name, false, false, false, false, nil)
		if err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the queue never expired")
		}
	}
}

func TestAPublisherIsToldThatItIsBlocked(t *testing.T) {
	ctl := os.Getenv("RABBITMQCTL")
	if ctl == "" {
		t.Skip("no RABBITMQCTL given")
	}
	run := func(arguments ...string) {
		t.Helper()
		if said, err := exec.Command(ctl, arguments...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	conn, ch := open(t)
	q := declare(t, ch, unique(t), nil)
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 2))
	run("set_vm_memory_high_watermark", "0.00001")
	released := false
	release := func() {
		if !released {
			released = true
			run("set_vm_memory_high_watermark", "0.6")
		}
	}
	defer release()
	// Only who publishes is blocked.
	send(t, ch, q, text("held"))
	if b := await(t, "connection.blocked", blocked); !b.Active || b.Reason != "low on memory" {
		t.Fatalf("%+v", b)
	}
	release()
	if b := await(t, "connection.unblocked", blocked); b.Active {
		t.Fatalf("%+v", b)
	}
	if d := poll(t, ch, q); string(d.Body) != "held" {
		t.Fatalf("%s", d.Body)
	}
}
