package library

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func publish(ch *amqp.Channel, exchange, key string, msg amqp.Publishing) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return ch.PublishWithContext(ctx, exchange, key, false, false, msg)
}

func publishMandatory(ch *amqp.Channel, exchange, key string, msg amqp.Publishing) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return ch.PublishWithContext(ctx, exchange, key, true, false, msg)
}

func TestDeferredConfirm(t *testing.T) {
	_, ch := open(t)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	failOnError(t, err, "Failed to declare a queue")
	failOnError(t, ch.Confirm(false), "Failed to select confirms")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, false, false, amqp.Publishing{Body: []byte("x")})
	failOnError(t, err, "Failed to publish")
	acked, err := confirm.WaitContext(ctx)
	failOnError(t, err, "No confirmation came")
	if !acked {
		t.Fatal("refused")
	}
}
