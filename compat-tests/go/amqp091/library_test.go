package library

import amqp "github.com/rabbitmq/amqp091-go"

// So that names of queues and exchanges are this library's alone.
const name = "amqp091"

const Persistent = amqp.Persistent

type (
	Channel      = amqp.Channel
	Confirmation = amqp.Confirmation
	Connection   = amqp.Connection
	Decimal      = amqp.Decimal
	Delivery     = amqp.Delivery
	Error        = amqp.Error
	Publishing   = amqp.Publishing
	Return       = amqp.Return
	Table        = amqp.Table
)

var Dial = amqp.Dial
