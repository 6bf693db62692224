package library

import "github.com/streadway/amqp"

func publish(ch *amqp.Channel, exchange, key string, msg amqp.Publishing) error {
	return ch.Publish(exchange, key, false, false, msg)
}

func publishMandatory(ch *amqp.Channel, exchange, key string, msg amqp.Publishing) error {
	return ch.Publish(exchange, key, true, false, msg)
}
