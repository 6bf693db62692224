package library

import amqp "github.com/streadway/amqp"

// So that names of queues and exchanges are this library's alone.
const name = "streadway"

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
